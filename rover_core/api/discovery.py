"""Who finds processes."""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from rover_core.model import Process


class Discoverer(Protocol):
    """Finds processes. `scan` may be called from a worker thread, never twice at a time."""

    name: str

    def scan(self) -> Iterable[Process]:
        """Every process there is now. A process that vanishes meanwhile is left out, not an error."""
        ...


@runtime_checkable
class AnnouncingDiscoverer(Discoverer, Protocol):
    """A discoverer that knows when there is something new: it is then asked at once, beside the regular times."""

    def fileno(self) -> int | None:
        """A descriptor that is readable when processes have changed, until `scan` has taken note; None if there is
        none after all. May block for a moment."""
        ...

    def close(self) -> None:
        """Release the descriptor. `scan` still works."""
        ...
