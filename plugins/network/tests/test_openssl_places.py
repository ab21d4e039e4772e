"""Where OpenSSL's functions are probed, beside what the disassembler of binutils says is there."""

import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rover_network.tls.files import MappedElf
from rover_network.tls.openssl import OpenSsl
from rover_network.tls.programs import TRANSFER, TRANSFER_EX

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors step over nothing")

SOURCE = """
.globl SSL_read, SSL_read_ex, SSL_write, SSL_write_ex
.type SSL_read,@function; .type SSL_read_ex,@function; .type SSL_write,@function; .type SSL_write_ex,@function
reads: endbr64; push %r13; ret
SSL_read: sub $24,%rsp; call reads; add $24,%rsp; ret
SSL_read_ex: sub $8,%rsp; call READ_EX_CALLS; add $8,%rsp; ret
SSL_write: endbr64; push %rbp; pop %rbp; ret
SSL_write_ex: push %rbx; pop %rbx; ret
.section .rodata; .space 300000
"""


@pytest.fixture
def debian() -> Path:
    (path,) = Path("/usr/lib").glob("*/libssl.so.3")
    return path


@pytest.fixture(params=["reads", "SSL_write"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A library, and what its SSL_read_ex calls: what its SSL_read does, or something else."""
    source, library = tmp_path / "made.s", tmp_path / "made.so"
    source.write_text(SOURCE.replace("READ_EX_CALLS", request.param))
    subprocess.run(["gcc", "-shared", "-nostdlib", "-Wl,-Bsymbolic", "-o", library, source], check=True)
    return request.param, library


def placed(path: Path) -> dict[int, str]:
    """Offset -> what enters there, of one library."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        found = OpenSsl().probes(MappedElf(str(path), descriptor))
        return {probe.offset: probe.function for probe in found if probe.function in (TRANSFER, TRANSFER_EX)}
    finally:
        os.close(descriptor)


def instruction(path: Path, offset: int) -> str:
    """By the file's own addresses, which are its offsets as long as the code is mapped where it lies."""
    said = subprocess.run(
        ["objdump", "-d", f"--start-address={offset}", f"--stop-address={offset + 16}", path],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return next(line for line in said.splitlines() if line.startswith(f"{offset:8x}:")).split("\t")[2].split()[0]


def test_the_distributions_library_is_probed_where_the_kernel_need_not_step(debian: Path) -> None:
    """Broken: each read and write of encrypted connections costs another trap."""
    found = placed(debian)
    assert len(found) == 2
    assert {instruction(debian, offset) for offset in found} == {"push"}
    assert set(found.values()) == {TRANSFER_EX}


def test_another_place_is_taken_only_if_it_does_the_same(made: tuple[str, Path]) -> None:
    """Broken: a function is probed that only looks like the one that reads, and what it is called with is misread."""
    shared, path = made
    found = placed(path)
    begins = sorted((instruction(path, offset), function) for offset, function in found.items())
    same = [("push", TRANSFER), ("push", TRANSFER_EX), ("push", TRANSFER_EX)]
    assert begins == (same if shared == "reads" else [*same[:2], ("sub", TRANSFER), ("sub", TRANSFER_EX)])
