"""What is taken for TLS: connections that are hidden from the parsers from then on."""

import ctypes
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from classifying import random_heads, real_heads

HEADER = Path(__file__).parents[1] / "rover_network"
PROGRAM = """
#define __always_inline inline
typedef unsigned char u8; typedef unsigned int u32; typedef unsigned long long u64;
#define ROVER_HEAD 64
struct rover_piece { u64 address, segments, length; u32 size; u8 head[128]; };
static void rover_read_user(void *to, u32 size, void *from) { __builtin_memcpy(to, from, size); }
#include "tlsrecord.h"
int begins(u8 *bytes, u64 length) {
    struct rover_piece piece = {.address = (u64)bytes, .length = length, .size = length < 64 ? length : 64};
    __builtin_memcpy(piece.head, bytes, piece.size);
    return rover_begins_tls(&piece);
}
"""
Begins = Callable[[bytes], int]


@pytest.fixture(scope="module")
def begins(tmp_path_factory: pytest.TempPathFactory) -> Begins:
    """The kernel's own header, compiled for this machine."""
    folder = tmp_path_factory.mktemp("records")
    text = (HEADER / "rover" / "tlsrecord.h").read_text().replace("#include <rover/call.h>", "")
    (folder / "tlsrecord.h").write_text(text)
    (folder / "some.c").write_text(PROGRAM)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", folder / "some.so", folder / "some.c"], check=True)
    function = ctypes.CDLL(str(folder / "some.so")).begins
    return lambda data: int(function(data, ctypes.c_uint64(len(data))))


def record(kind: int, body: bytes, version: int = 3) -> bytes:
    return bytes([kind, 3, version]) + len(body).to_bytes(2, "big") + body


def test_handshakes_and_data_are_tls(begins: Begins) -> None:
    """Broken: encrypted bytes are shown to classifiers, which may take them for a protocol."""
    hello = record(22, b"\x01\x00\x01\xfc" + bytes(508), version=1)
    assert begins(hello)
    assert begins(record(22, b"\x02\x00\x00\x56" + bytes(86)) + record(20, b"\x01") + record(23, bytes(900)))
    assert begins(record(23, bytes(100)))
    assert begins(record(23, bytes(16_401)) + record(23, bytes(100))[:50]), "whole, and the next one's begin"
    assert begins(record(23, bytes(16_401))[:5]), "as OpenSSL reads"


def test_other_protocols_are_not(begins: Begins) -> None:
    """Broken: a connection of another protocol is hidden, for good, from those who could read it."""
    hidden = [(name, head) for name, head in real_heads() if begins(head)]
    assert {name for name, _ in hidden} == {"http1", "mysql"}, "by CONNECT and by SSLRequest they become TLS"
    assert not [head for head in random_heads(100_000) if begins(head)]
    dice = random.Random(5)
    for kind in (22, 23):  # nor what only begins so: a length that is not that of what came
        for _ in range(1000):
            body = dice.randbytes(dice.randint(2, 200))
            assert not begins(record(kind, body)[: dice.randint(6, 4 + len(body))])
