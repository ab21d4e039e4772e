"""The off-CPU profiler passes the suite for all profilers, and its options reach the task."""

import time

import pytest

from rover_bpf.stackprofiler import StackProfiler
from rover_core.showing import marks, nothing_sentence
from rover_core.testing import ProfilerConformance, make_profile
from rover_offcpu.plugin import rover_profile_commands
from rover_offcpu.profiler import OffCpu, create
from rover_offcpu.settings import OffCpuSettings


@pytest.mark.kernel
class TestOffCpu(ProfilerConformance):
    def make(self) -> StackProfiler:
        return create(OffCpuSettings())

    def work(self) -> None:
        """What this profiler sees is not work but waiting."""
        for _ in range(20):
            time.sleep(0.005)


def test_options_reach_the_task() -> None:
    """Broken: --min-block or --state is ignored."""
    min_block, state, unwind = rover_profile_commands()[0].options
    assert (min_block.name, min_block.parse("1ms")) == ("min_block", 1_000_000)
    assert (state.name, state.parse("preempted, other")) == ("state", ("preempted", "other"))
    assert (unwind.name, unwind.parse("fp")) == ("unwind", "fp")


def test_it_says_how_its_profiles_are_shown() -> None:
    """Broken: preemption looks like a wait for something, or every ordinary wait gets a frame on top."""
    words = OffCpu.attributes
    assert marks((("state", "interruptible"),), words) == ()
    assert marks((("state", "uninterruptible"),), words) == ()
    assert marks((("state", "preempted"), ("unfinished", "true")), words) == ("[still waiting]", "[preempted]")
    assert nothing_sentence(make_profile(attributes=words)).startswith("No waits: ")
