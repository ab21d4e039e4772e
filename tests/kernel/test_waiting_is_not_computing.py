"""On and off CPU over the same interval: neither profile holds the other's time."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import go, process_of, read_accounts

from rover_bpf.stackprofiler import StackProfiler
from rover_core.model import Profile, Task
from rover_offcpu.profiler import create as create_off_cpu
from rover_offcpu.settings import OffCpuSettings
from rover_oncpu.profiler import create as create_on_cpu
from rover_oncpu.settings import OnCpuSettings

pytestmark = pytest.mark.kernel


@pytest.fixture
def profilers() -> Iterator[tuple[StackProfiler, StackProfiler]]:
    """(on CPU, off CPU)."""
    both = create_on_cpu(OnCpuSettings(dump_period=1_000_000)), create_off_cpu(OffCpuSettings(min_block=0))
    yield both
    for profiler in both:
        profiler.close()


def total_ns(profile: Profile | None, value: int) -> int:
    assert profile is not None
    return sum(sample.values[value] for sample in profile.samples if ("unfinished", "true") not in sample.labels)


def test_a_profile_of_computing_sees_no_waiting(profilers, build, start, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Wrong: threads that sleep, queue, read and idle in a pool look busy, or their waits are all of their time."""
    file = tmp_path / "data"
    file.write_bytes(bytes(23 << 20))
    programs = [start(build("waits.c"), mode, str(file)) for mode in ("sleep", "mutex", "pipe", "file", "pool")]
    on_cpu, off_cpu = profilers
    time.sleep(0.2)  # until they wait for the line
    for profiler in profilers:
        profiler.start(Task("waits", profiler.name), [process_of(program) for program in programs])
    for program in programs:
        go(program)
    accounts = [account for program in programs for account in read_accounts(program).values()]
    computed, waited = total_ns(on_cpu.stop("waits"), 1), total_ns(off_cpu.stop("waits"), 0)
    waited_ns, cpu_ns = (sum(account[field] for account in accounts) for field in (0, 3))
    assert waited > 0.5 * waited_ns  # all of it, but for what is in the ledger; that is another test
    assert 0 < computed < cpu_ns + 0.01 * waited_ns
    assert computed < 0.1 * waited
