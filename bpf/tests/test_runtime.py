"""Loading, attaching and reading on the real kernel: every kind of probe against a known number of events."""

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rover_bpf import loader, maps
from rover_bpf.attach import CpuClock, Kprobe, Probe, RawTracepoint, Tracepoint, Uprobe
from rover_bpf.loader import load
from rover_bpf.maps import BpfMap
from rover_bpf.plans import Choice, Plan, attach
from rover_bpf.program import Program
from rover_bpf.ring import Ring
from rover_bpf.source import ProgramSource
from rover_bpf.syscalls import BpfCommand, bpf
from rover_core.errors import RoverError

pytestmark = pytest.mark.kernel

PROGRAMS = Path(__file__).parent / "programs"
EVENTS = 23  # a prime, so that no multiple of anything else passes for it
FUNCTIONS = {"on_raw": "RAW_TRACEPOINT", "on_tracepoint": "TRACEPOINT", "on_probe": "KPROBE"}
LOOKING = """
import mmap, sys
position = memoryview(mmap.mmap(int(sys.argv[1]), mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ)).cast("Q")
print(*{position[0] for _ in range(2_000_000)})
"""
GETPPID = {"x86_64": "110", "aarch64": "173"}[os.uname().machine]


@pytest.fixture
def program() -> Iterator[Program]:
    defines = {"ROVER_TEST_PID": str(os.getpid()), "ROVER_TEST_SYSCALL": GETPPID}
    with load(ProgramSource(PROGRAMS / "events.bpf.c", FUNCTIONS, defines=defines)) as loaded:
        yield loaded


def count(program: Program) -> int:
    value = BpfMap(program.maps["counts"], "<u4", "<u8").lookup(os.getpid())
    return 0 if value is None else int(value)


def while_attached(program: Program, function: str, probe: Probe, times: int) -> None:
    attachment = attach(Plan("a test", (Choice(function, probe),)), program)
    for _ in range(times):
        os.getppid()
    attachment.detach()
    os.getppid()  # must not be counted any more


@pytest.mark.parametrize(
    ("function", "probe"),
    [
        ("on_raw", RawTracepoint("sys_enter")),
        ("on_tracepoint", Tracepoint("syscalls", "sys_enter_getppid")),
    ],
    ids=["raw", "tracefs"],
)
def test_tracepoints_see_each_event_once(program: Program, function: str, probe: Probe) -> None:
    """Broken: events are missed, seen twice, or still seen after detaching."""
    while_attached(program, function, probe, EVENTS)
    assert count(program) == EVENTS


@pytest.mark.parametrize("on_return", [False, True])
def test_uprobes_see_each_call_once(program: Program, build, start, on_return: bool) -> None:  # type: ignore[no-untyped-def]
    """Broken: functions of programs and libraries cannot be probed."""
    libc = next(
        Path(line.split()[-1]) for line in Path("/proc/self/maps").read_text().splitlines() if "libc.so" in line
    )
    symbols = subprocess.run(["nm", "-D", "--defined-only", libc], capture_output=True, text=True, check=True).stdout
    offset = next(
        int(line.split()[0], 16) for line in symbols.splitlines() if line.split()[-1].startswith("getppid@")
    )
    while_attached(program, "on_probe", Uprobe(libc, offset, on_return, os.getpid()), EVENTS)
    assert count(program) == EVENTS


def test_a_plan_takes_the_first_choice_that_works_and_says_why_not_the_others(program: Program) -> None:
    """Broken: one probe that this kernel lacks is the end, or nobody learns which one was taken."""
    choices = (
        Choice("on_probe", Kprobe("no_such_kernel_function")),
        Choice("not_in_the_program", RawTracepoint("sys_enter")),
        Choice("on_raw", RawTracepoint("no_such_tracepoint")),
        Choice("on_raw", RawTracepoint("sys_enter")),
    )
    attachment = attach(Plan("a test", choices), program)
    attachment.detach()
    assert attachment.probe.label == "raw tracepoint sys_enter"
    assert next(iter(attachment.refused)) == "kprobe no_such_kernel_function"
    with pytest.raises(RoverError, match=r"counting is not possible here: .*no_such_kernel_function"):
        attach(Plan("counting", choices[:3]), program)


def test_maps_are_read_and_drained_in_batches(program: Program) -> None:
    """Broken: entries are lost between batches, or draining leaves or invents some."""
    while_attached(program, "on_raw", RawTracepoint("sys_enter"), 9001)
    table = BpfMap(program.maps["many"], "<u8", "<u8")
    keys, values = table.read()
    assert sorted(keys.tolist()) == list(range(9001))
    assert np.array_equal(keys, values)
    drained, _ = table.drain()
    assert sorted(drained.tolist()) == list(range(9001))
    assert len(table.read()[0]) == 0
    assert len(table.drain()[0]) == 0


def test_per_cpu_values_have_one_element_a_processor(program: Program) -> None:
    """Broken: counts of all processors but one are ignored."""
    while_attached(program, "on_raw", RawTracepoint("sys_enter"), EVENTS)
    keys, values = BpfMap(program.maps["percpu"], "<i4", "<u8").read()
    assert keys.tolist() == [0, 1]
    assert values.sum(axis=1).tolist() == [EVENTS, 0]


def test_an_array_without_batches_is_read_one_by_one(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: kernels before 5.13 cannot say how much was counted and lost."""

    def refuse(command: BpfCommand, attributes: ctypes.Structure) -> int:
        if command == BpfCommand.MAP_LOOKUP_BATCH:
            raise OSError(524, "Unknown error 524")
        return bpf(command, attributes)

    while_attached(program, "on_raw", RawTracepoint("sys_enter"), EVENTS)
    table = BpfMap(program.maps["percpu"], "<i4", "<u8")
    keys, values = table.read()
    monkeypatch.setattr(maps, "bpf", refuse)
    slow_keys, slow_values = table.read()
    assert slow_keys.tolist() == keys.tolist()
    assert slow_values.tolist() == values.tolist()
    with pytest.raises(OSError, match="524"):
        BpfMap(program.maps["many"], "<u8", "<u8").read()


def test_elements_are_updated_looked_up_and_deleted(program: Program) -> None:
    """Broken: the list of watched processes cannot be kept."""
    table = BpfMap(program.maps["counts"], "<u4", "<u8")
    table.update(7, 49)
    assert table.lookup(7) == 49
    assert table.delete(7)
    assert not table.delete(7)
    assert table.lookup(7) is None
    with pytest.raises(OSError, match="Argument list too long"):
        _fill(table)


def _fill(table: BpfMap) -> None:
    for key in range(100, 200):
        table.update(key, 1)


def test_a_map_described_wrongly_is_refused(program: Program) -> None:
    """Broken: a changed structure in a program is read as something else."""
    with pytest.raises(ValueError, match="8-byte values, described with 8 and 8"):
        BpfMap(program.maps["counts"], "<u8", "<u8")


def test_the_ring_delivers_everything_in_order_across_its_end(program: Program) -> None:
    """Broken: records are lost, repeated or torn where the ring wraps around, or discarded ones come through."""
    ring = Ring(program.maps["records"])
    numbers: list[int] = []
    attachment = attach(Plan("a test", (Choice("on_raw", RawTracepoint("sys_enter")),)), program)
    for _ in range(30):  # 30 x 100 records of 56 bytes go ten times round a ring of four pages
        for _ in range(100):
            os.getppid()
        numbers += [int.from_bytes(record[:8], "little") for record in ring.drain()]
    attachment.detach()
    ring.close()
    assert numbers == [number for number in range(3000) if number % 5 != 4]


def test_a_full_ring_loses_the_newest_and_goes_on_afterwards(program: Program) -> None:
    """Broken: after an overflow the reader is out of step with the writer."""
    ring = Ring(program.maps["records"])
    while_attached(program, "on_raw", RawTracepoint("sys_enter"), 2000)
    first = [int.from_bytes(record[:8], "little") for record in ring.drain()]
    while_attached(program, "on_raw", RawTracepoint("sys_enter"), 3)
    later = [int.from_bytes(record[:8], "little") for record in ring.drain()]
    ring.close()
    assert first == [number for number in range(len(first) * 5 // 4 + 1) if number % 5 != 4][: len(first)]
    assert len(first) < 1600
    assert later == [2000, 2001, 2002]


def test_giving_room_back_is_one_store(program: Program) -> None:
    """Broken: what was read is given back in steps, and who reserves between them finds a full ring: now and then a
    record is lost, whatever the size of the ring."""
    ring = Ring(program.maps["records"])
    while_attached(program, "on_raw", RawTracepoint("sys_enter"), 100)
    ring.skip()
    with subprocess.Popen(
        [sys.executable, "-c", LOOKING, str(program.maps["records"].fd)],
        pass_fds=[program.maps["records"].fd],
        stdout=subprocess.PIPE,
        text=True,
    ) as looking:
        while looking.poll() is None:
            for _ in range(1000):
                ring.skip()
        assert looking.stdout is not None
        seen = looking.stdout.read().split()
    ring.close()
    assert seen == [str(100 * (8 + 48))]


def test_the_clock_ticks_on_every_processor(build, start) -> None:  # type: ignore[no-untyped-def]
    """Broken: only some processors are sampled."""
    attachment = CpuClock(10_000_000)
    defines = {"ROVER_TEST_PID": "0", "ROVER_TEST_SYSCALL": "0"}
    source = ProgramSource(PROGRAMS / "events.bpf.c", {"on_tracepoint": "PERF_EVENT"}, defines=defines)
    with load(source) as program:
        descriptors = attachment.attach(program.functions["on_tracepoint"])
        online = os.sysconf("SC_NPROCESSORS_ONLN")
        assert len(descriptors) == online
        for fd in descriptors:
            os.close(fd)


def test_a_program_that_does_not_compile_says_where() -> None:
    """Broken: the compiler's words are lost in the child."""
    with pytest.raises(
        RoverError, match=r"broken\.bpf\.c did not compile: .*broken\.bpf\.c:6.*no_such_name"
    ) as caught:
        load(ProgramSource(PROGRAMS / "broken.bpf.c", {"broken": "RAW_TRACEPOINT"}))
    assert "no_such_name" in caught.value.__notes__[0]


def test_a_program_that_the_verifier_refuses_says_why() -> None:
    """Broken: a kernel that refuses a program leaves the user guessing."""
    with pytest.raises(RoverError, match=r"was refused by the kernel: .*invalid mem access 'map_value_or_null'"):
        load(ProgramSource(PROGRAMS / "refused.bpf.c", {"never_checked": "RAW_TRACEPOINT"}))


def test_one_refused_function_leaves_the_others() -> None:
    """Broken: a plan's second choice cannot be tried because the first does not load."""
    source = ProgramSource(
        PROGRAMS / "refused.bpf.c", {"never_checked": "RAW_TRACEPOINT", "harmless": "RAW_TRACEPOINT"}
    )
    with load(source) as program:
        assert set(program.functions) == {"harmless"}
        assert "invalid mem access" in program.errors["never_checked"]


def test_an_optional_function_is_no_program_by_itself() -> None:
    """Broken: a form of a program that this kernel refuses is taken, for the sake of what was to stand beside it."""
    functions = {"never_checked": "RAW_TRACEPOINT", "harmless": "RAW_TRACEPOINT"}
    with pytest.raises(RoverError, match="invalid mem access"):
        load(ProgramSource(PROGRAMS / "refused.bpf.c", functions, optional=frozenset({"harmless"})))
    with load(ProgramSource(PROGRAMS / "refused.bpf.c", functions, optional=frozenset({"never_checked"}))) as program:
        assert set(program.functions) == {"harmless"}


def test_a_kernel_without_a_member_is_named() -> None:
    """Broken: a program that does not fit the kernel fails with a compiler's riddle."""
    source = ProgramSource(PROGRAMS / "refused.bpf.c", {"harmless": "RAW_TRACEPOINT"}, (("task_struct", "no_such"),))
    with pytest.raises(RoverError, match=r"does not fit this kernel: its BTF has no task_struct\.no_such"):
        load(source)


def test_a_loader_that_is_killed_is_an_error_with_its_status(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Broken: a crash of the compiler hangs or ends the agent."""
    killer = tmp_path / "python"
    killer.write_text("#!/bin/sh\nkill -9 $$\n")
    killer.chmod(0o755)
    monkeypatch.setattr(loader, "find_bcc_python", lambda: str(killer))
    with pytest.raises(RoverError, match="ended by SIGKILL"):
        load(ProgramSource(PROGRAMS / "refused.bpf.c", {"harmless": "RAW_TRACEPOINT"}))


def test_loading_leaves_no_descriptor_no_child_and_no_module_behind() -> None:
    """Broken: every task leaks descriptors or children, or the agent ends up with BCC in its memory."""
    source = ProgramSource(PROGRAMS / "refused.bpf.c", {"harmless": "RAW_TRACEPOINT"})
    load(source).close()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        load(source).close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert "bcc" not in sys.modules
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_what_was_attached_stays_only_as_long_as_its_descriptors(program: Program) -> None:
    """Broken: detaching waits for something else, and targets keep paying."""
    while_attached(program, "on_raw", RawTracepoint("sys_enter"), 1)
    time.sleep(0.05)
    assert count(program) == 1
