"""How user stacks are walked: settings and the option that profilers share. Light: imported with the command line."""

from typing import Any, Literal, cast, get_args

from rover_core.api import ProfileOption
from rover_core.errors import UsageError

Unwind = Literal["auto", "fp", "dwarf"]
"""fp: by frame pointers, in the kernel. dwarf: by call frame information (.eh_frame), in the agent. auto: the latter
for processes with files that do not keep frame pointers, or whose first stacks come out otherwise by them."""


def check_unwind(value: Any) -> Unwind:
    """A task's way of unwinding. UsageError naming what there is."""
    ways = get_args(Unwind)
    if value not in ways:
        raise UsageError(f"{value!r} is no way to unwind stacks", why=f"there are: {', '.join(ways)}")
    return cast(Unwind, value)


UNWIND_OPTION = ProfileOption(
    "unwind",
    "|".join(get_args(Unwind)),
    "How stacks are walked: by frame pointers, by call frame information, or as each process needs.  [default: auto]",
    check_unwind,
)
