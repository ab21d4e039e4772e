"""The on-CPU profiler passes the suite for all profilers, and refuses periods that make no sense."""

import pytest

from rover_bpf.stackprofiler import StackProfiler
from rover_core.errors import UsageError
from rover_core.testing import ProfilerConformance
from rover_oncpu.period import check_period
from rover_oncpu.plugin import rover_profile_commands
from rover_oncpu.profiler import create
from rover_oncpu.settings import OnCpuSettings


@pytest.mark.kernel
class TestOnCpu(ProfilerConformance):
    def make(self) -> StackProfiler:
        return create(OnCpuSettings(dump_period=1_000_000))


@pytest.mark.parametrize("period", [0, 1, 99_999, 1_000_000_001, "0", "10", "fast", "1us", "2s"])
def test_periods_that_make_no_sense_are_refused(period: int | str) -> None:
    """Broken: a period of 0 is taken for none given, or one of a microsecond stops the machine."""
    with pytest.raises(UsageError, match="period"):
        check_period(period)


def test_a_period_reaches_the_task() -> None:
    """Broken: --period is ignored."""
    option = rover_profile_commands()[0].options[0]
    assert (option.name, option.parse("1ms")) == ("period", 1_000_000)
