"""Which of the protocols that are installed are read."""

from collections.abc import Sequence

from rover_core.api import WireProtocol
from rover_core.errors import UsageError


def choose(installed: Sequence[WireProtocol], names: Sequence[str]) -> list[WireProtocol]:
    """Those named, in the order they are installed in; all if none is named. UsageError for one that is not there."""
    known = {each.name for each in installed}
    if missing := [name for name in names if name not in known]:
        there = ", ".join(sorted(known)) or "none"
        raise UsageError(
            f"the protocol {missing[0]} cannot be enabled",
            why="no plugin brings it",
            remedy=f"Installed: {there} (profiling.task.network.protocol_analyze.protocols)",
        )
    return [each for each in installed if not names or each.name in names]
