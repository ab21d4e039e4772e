"""Every installed protocol's classifier in the kernel: the verifier takes it, and it says what it says natively."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from classifying import compiled, installed, random_heads, real_heads

from rover_bpf.attach import RawTracepoint
from rover_bpf.loader import load
from rover_bpf.maps import BpfMap
from rover_bpf.plans import Choice, Plan, attach
from rover_bpf.source import ProgramSource
from rover_core.api import CLASSIFY_BYTES, WireProtocol

pytestmark = pytest.mark.kernel

HEAD = np.dtype([("size", "<u4"), ("verdict", "<i4"), ("bytes", "u1", CLASSIFY_BYTES)])
PROGRAM = """
#include <rover/rover.h>
#include "%(header)s"

struct head {
    u32 size;
    int verdict;
    unsigned char bytes[%(bytes)d]; /* at the end: the verifier lets nobody look beyond them */
};
BPF_TABLE("array", int, struct head, heads, 1);

int on_raw(void *ctx)
{
    int zero = 0;
    struct head *head = heads.lookup(&zero);
    if (head && bpf_get_current_pid_tgid() >> 32 == ROVER_TEST_PID)
        head->verdict = %(name)s_classify(head->bytes, head->size);
    return 0;
}
"""


@pytest.mark.parametrize("protocol", installed(), ids=lambda protocol: protocol.name)
def test_the_kernel_agrees_with_the_native_build(protocol: WireProtocol, tmp_path: Path) -> None:
    """Broken: the verifier refuses the classifier, or the kernel's compiler understands it otherwise."""
    native = compiled(protocol, tmp_path)
    heads = [head[:CLASSIFY_BYTES] for _, head in real_heads()][::7] + list(random_heads(300))
    assert in_kernel(protocol, tmp_path, lambda classify: [classify(head) for head in heads]) == [*map(native, heads)]


def in_kernel(protocol: WireProtocol, folder: Path, work: Callable[[Callable[[bytes], int]], list[int]]) -> list[int]:
    source = folder / f"{protocol.name}.bpf.c"
    names = {"header": protocol.classifier.name, "bytes": CLASSIFY_BYTES, "name": protocol.name}
    source.write_text(PROGRAM % names)
    defines = {"ROVER_TEST_PID": str(os.getpid())}
    functions = {"on_raw": "RAW_TRACEPOINT"}
    with load(ProgramSource(source, functions, defines=defines, include=(protocol.classifier.parent,))) as program:
        slot = BpfMap(program.maps["heads"], "<u4", HEAD)
        attachment = attach(Plan("a test", (Choice("on_raw", RawTracepoint("sys_enter")),)), program)

        def classify(head: bytes) -> int:
            padded = np.frombuffer(head.ljust(CLASSIFY_BYTES, b"\0"), "u1")
            slot.update(0, np.array((len(head), -1, padded), HEAD))
            os.getppid()
            value = slot.lookup(0)
            assert value is not None
            return int(value["verdict"])

        try:
            return work(classify)
        finally:
            attachment.detach()
