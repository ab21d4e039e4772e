"""Settings of on-CPU profiling (contract section 7)."""

from typing import Annotated

from pydantic import BaseModel

from rover_bpf.unwinding import Unwind
from rover_core.config.types import Duration, MinDuration, parse_duration


class OnCpuSettings(BaseModel):
    """dump_period: CPU time between two samples of a processor; 9ms is 111 samples a second.

    unwind: how stacks are walked (`rover_bpf.unwinding`).
    """

    unwind: Unwind = "auto"
    dump_period: Annotated[Duration, MinDuration("1ms")] = parse_duration("9ms")
