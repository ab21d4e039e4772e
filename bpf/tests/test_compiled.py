"""What was compiled once is loaded again without a compiler, and only if it is what it was."""

import os
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rover_bpf import compiled, loader
from rover_bpf.attach import RawTracepoint
from rover_bpf.loader import load
from rover_bpf.maps import BpfMap
from rover_bpf.plans import Choice, Plan, attach
from rover_bpf.program import Program
from rover_bpf.ring import make_ring
from rover_bpf.source import Extension, Function, ProgramSource
from rover_core.errors import RoverError

pytestmark = pytest.mark.kernel

MAIN = """
#include <rover/rover.h>
#include "number.h"

BPF_TABLE_PUBLIC("prog", u32, u32, slots, 2);
BPF_TABLE_PUBLIC("array", int, u64, counted, 1);
BPF_RINGBUF_OUTPUT(ring, 1);
BPF_ARRAY_OF_MAPS(rings, "ring", 4);

int on_raw(void *ctx)
{
    if (bpf_get_current_pid_tgid() >> 32 == ROVER_TEST_PID)
        slots.call(ctx, 1);
    return 0;
}
"""
BESIDE = """
#include <rover/rover.h>
#include "number.h"

BPF_TABLE("extern", int, u64, counted, 1);
BPF_TABLE("array", int, u64, own, 1);

int on_called(void *ctx)
{
    int zero = 0;
    u64 *mine = own.lookup(&zero), *seen = counted.lookup(&zero);
    if (mine && seen) {
        *mine += NUMBER;
        *seen = *mine;
    }
    return 0;
}
"""


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where programs are kept."""
    folder = tmp_path / "kept"
    monkeypatch.setenv("ROVER_PROGRAM_CACHE", str(folder))
    return folder


@pytest.fixture
def source(tmp_path: Path) -> ProgramSource:
    texts = {"main.bpf.c": MAIN, "beside.bpf.c": BESIDE, "number.h": "#define NUMBER 3"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    beside = Extension(tmp_path / "beside.bpf.c", {"called": Function("on_called", "RAW_TRACEPOINT")})
    defines = {"ROVER_TEST_PID": str(os.getpid())}
    return ProgramSource(tmp_path / "main.bpf.c", {"on_raw": "RAW_TRACEPOINT"}, (), defines, (), (beside,))


@pytest.fixture
def no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Takes BCC away from the loader."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nexec /usr/bin/python3 -S "$@"\n')
    python.chmod(0o755)
    return lambda: monkeypatch.setattr(loader, "find_bcc_python", lambda: str(python))


def count(program: Program) -> int:
    """What it adds for each event, which its map for itself sums up."""
    BpfMap(program.maps["slots"], "<u4", "<u4").update(1, program.functions["called"])
    attachment = attach(Plan("a test", (Choice("on_raw", RawTracepoint("sys_enter")),)), program)
    counted = BpfMap(program.maps["counted"], "<i4", "<u8")
    before = int(counted.read()[1][0])
    os.getppid()
    after = int(counted.read()[1][0])
    attachment.detach()
    return after - before


def shapes(program: Program) -> dict[str, tuple[int, ...]]:
    return {name: (m.type, m.key_size, m.value_size, m.max_entries) for name, m in program.maps.items()}


def test_the_second_time_needs_no_compiler(
    kept: Path, source: ProgramSource, no_compiler: Callable[[], None]
) -> None:
    """Broken: every start compiles for seconds; or what is kept are other programs, maps or descriptors."""
    with load(source) as program:
        compiled, known = count(program), shapes(program)
    (file,) = kept.iterdir()
    assert (file.stat().st_mode & 0o777, kept.stat().st_mode & 0o777) == (0o600, 0o700)
    no_compiler()
    descriptors = len(os.listdir("/proc/self/fd"))
    with load(source) as program:
        assert (count(program), shapes(program)) == (compiled, known)
        ring = make_ring(1)
        BpfMap(program.maps["rings"], "<u4", "<u4").update(0, ring.fd)
        os.close(ring.fd)
    assert compiled > 0
    assert compiled % 3 == 0
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_what_is_not_as_it_was_is_compiled(
    kept: Path, source: ProgramSource, no_compiler: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: an old program runs after an update, or one that somebody else has put there."""
    load(source).close()
    (file,) = kept.iterdir()
    ready, header = file.read_bytes(), source.path.with_name("number.h")
    no_compiler()

    def compiles(source: ProgramSource = source) -> None:
        with pytest.raises(RoverError, match="No module named 'bcc'"):
            load(source)

    compiles(replace(source, defines={**source.defines, "MORE": "1"}))
    header.write_text("#define NUMBER 4")
    compiles()
    header.write_text("#define NUMBER 3")
    for path, mode, usual in ((file, 0o622, 0o600), (kept, 0o770, 0o700)):
        path.chmod(mode)
        compiles()
        path.chmod(usual)
    for damaged in (b"", b"damaged", zlib.compress(b"[]"), zlib.compress(b'{"maps": {"a": {}}}')):
        file.write_bytes(damaged)
        compiles()
    file.write_bytes(ready)
    load(source).close()
    monkeypatch.setenv("ROVER_PROGRAM_CACHE", "")
    compiles()


def test_what_the_kernel_refuses_is_not_kept(kept: Path, source: ProgramSource) -> None:
    """Broken: a program whose parts were refused once is never tried again, and nobody is told why."""
    source.extensions[0].path.write_text("int on_called(void *ctx) { return *(volatile int *)0; }")
    for _ in range(2):
        with load(source) as program:
            assert "called" in program.errors
    assert not kept.exists()


def test_no_more_files_than_there_is_room_for(tmp_path: Path) -> None:
    """Broken: every update and every kernel leaves something behind for ever."""
    for number in range(40):
        compiled.save(tmp_path / f"{number}.json", "", {}, [], [])
        os.utime(tmp_path / f"{number}.json", (number, number))
    assert {int(each.stem) for each in tmp_path.iterdir()} == set(range(8, 40))
