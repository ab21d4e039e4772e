"""What the agent knows of the kernel: numbers of system calls, reasons of drops, and the layout of its own rows."""

import platform
import re
import subprocess

import pytest

from rover_core.api import FAST_BYTES
from rover_network.calls import SYSCALLS, kinds
from rover_network.capture import _FAST_SLOT, _SELECT_SLOT, MOST_PROTOCOLS
from rover_network.counter import PROGRAM
from rover_network.dropreasons import parse_reasons
from rover_network.fastpath import DURATIONS, SIZES
from rover_network.intervals import DURATION_BOUNDS, SIZE_BOUNDS
from rover_network.rows import BUCKETS_NS, FIGURES, KEY, ROW


def test_numbers_are_those_of_the_c_library() -> None:
    """Broken: some other system call is taken for one that sends."""
    wanted = (
        "read readv preadv2 recvfrom recvmsg write writev pwritev2 sendto sendmsg recvmmsg sendmmsg sendfile splice"
    )
    wanted += " connect accept accept4 close io_uring_enter mmap execve execveat setsockopt"
    text = "#include <sys/syscall.h>\n" + "\n".join(f"SYS_{name} __NR_{name}" for name in wanted.split())
    out = subprocess.run(["gcc", "-E", "-P", "-"], input=text, capture_output=True, text=True, check=True).stdout
    if platform.machine() == "x86_64":
        numbers = {int(number) for number in re.findall(r"^\S+ (\d+)$", out, re.MULTILINE)}
        assert set(kinds(lengths=True)) == numbers
        assert max(numbers) < SYSCALLS


@pytest.mark.parametrize("lengths", [True, False])
def test_ends_are_looked_at_where_lengths_are_not_told(lengths: bool) -> None:
    """Broken: each read costs the look at its end though the socket tells, or nobody looks at all."""
    table = kinds(lengths)
    at_exit = {number for number, kind in table.items() if kind & 0x100}
    assert len(at_exit) == (13 if lengths else len(table))


def test_reasons_are_read_from_a_description() -> None:
    """Broken: a drop is called by the name that its number has in another kernel."""
    text = 'print fmt: "x", __print_symbolic(a, { 2, "NOT_SPECIFIED" }, { 6, "SKB_DROP_REASON_SOCKET_RCVBUFF" })'
    assert parse_reasons(text) == {2: "not_specified", 6: "socket_rcvbuff"}
    assert parse_reasons("") == {}


def test_the_fast_path_s_numbers_agree() -> None:
    """Broken: a fast path is put where a classifier is expected, or buckets are told apart where there are none."""
    call, maps, fast = ((PROGRAM.parent / f"rover/{name}.h").read_text() for name in ("call", "fastmaps", "fast"))
    assert f"ROVER_FAST = {_FAST_SLOT}," in call
    assert f"ROVER_SELECT_ = {_SELECT_SLOT}," in call
    assert f"ROVER_SLOTS = {_SELECT_SLOT + 1 + MOST_PROTOCOLS}," in call
    assert _SELECT_SLOT >= _FAST_SLOT + MOST_PROTOCOLS
    assert f"#define ROVER_FAST_DURATIONS {DURATIONS}" in maps
    assert f"#define ROVER_FAST_SIZES {SIZES}" in maps
    assert len(DURATION_BOUNDS) <= DURATIONS
    assert len(SIZE_BOUNDS) <= SIZES
    assert f"#define ROVER_FAST_BYTES {FAST_BYTES}" in fast


def test_layouts_agree() -> None:
    """Broken: rows are read at other places than the kernel program writes them."""
    header = (PROGRAM.parent / "rover/flows.h").read_text()
    assert f"#define ROVER_BUCKETS {len(BUCKETS_NS)}" in header
    assert len(FIGURES) == 5
    assert (KEY.itemsize, ROW.itemsize) == (16, 80 + 5 * (8 + 8 + 4 + 34 * 4 + 4) + 24)
    bounds = [
        eval(each.replace("ROVER_MS", "1000000")) for each in re.findall(r"ROVER_FROM\(([\d* /A-Z_]+)\)", header)
    ]
    assert [0, *map(int, bounds)] == list(BUCKETS_NS)
