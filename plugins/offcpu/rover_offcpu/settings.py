"""Settings of off-CPU profiling."""

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator

from rover_bpf.unwinding import Unwind
from rover_core.config.types import Duration, parse_duration
from rover_core.errors import UsageError

State = Literal["interruptible", "uninterruptible", "preempted", "other"]
STATES: tuple[State, ...] = get_args(State)
"""In the order of the kernel program's tags, which start at 1."""


def parse_states(value: object) -> object:
    """`interruptible,preempted` or a list of these; anything else is left for pydantic to refuse."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class OffCpuSettings(BaseModel):
    """min_block: shorter waits are not counted. state: the kinds of waits that are, all by default.

    unwind: how stacks are walked (`rover_bpf.unwinding`).
    """

    min_block: Duration = parse_duration("1us")
    state: Annotated[tuple[State, ...], BeforeValidator(parse_states)] = STATES
    unwind: Unwind = "auto"


def check_states(value: object) -> tuple[State, ...]:
    """A task's states. UsageError naming what there is."""
    chosen = parse_states(value)
    known = {state: state for state in STATES}
    if not isinstance(chosen, (list, tuple)) or not chosen or any(state not in known for state in chosen):
        raise UsageError(f"{value!r} are not states of waiting", why=f"there are: {', '.join(STATES)}")
    return tuple(known[state] for state in chosen)


def check_min_block(value: Any) -> int:
    """Nanoseconds of a task's shortest wait, given as such or as text. UsageError if it makes no sense."""
    try:
        minimum_ns = parse_duration(value) if isinstance(value, str) else int(value)
    except ValueError as error:
        raise UsageError("the shortest wait to count is not usable", why=str(error)) from error
    if minimum_ns < 0:
        raise UsageError("the shortest wait to count is negative", remedy="use 0 to count every wait")
    return minimum_ns
