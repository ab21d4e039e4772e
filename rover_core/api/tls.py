"""Libraries that encrypt connections."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class TlsProbe:
    """A place in a file where plain text of encrypted connections passes by.

    function: of the network profiler's eBPF program, what is attached there (docs/hooks.md lists them). offset: in
    the file. on_return: at the return of the function that begins there.
    """

    function: str
    offset: int
    on_return: bool = False


class TlsFile(Protocol):
    """An executable file that a process maps, to be looked at. What is read of it is a stranger's."""

    path: str
    """As the process names it."""
    build_id: str
    """Hexadecimal, "" if it has none."""

    def read(self, offset: int, size: int, /) -> bytes:
        """Up to so many bytes, fewer where the file ends."""
        ...

    def functions(self, names: Collection[str]) -> Mapping[str, int]:
        """Name -> offset in the file, of those of these functions whose names it has kept."""
        ...

    def mentions(self, text: bytes) -> bool:
        """Whether it is among its constants: what a library says of itself, though its names were stripped."""
        ...


class TlsLibrary(Protocol):
    """A library that encrypts connections, and how its plain text can be had."""

    name: str

    def probes(self, file: TlsFile) -> Iterable[TlsProbe]:
        """Where to attach what; none if the library is not in this file. Called once for each file.

        RoverError: it is there, but cannot be probed; the connections of this file alone stay unread, and people are
        told why.
        """
        ...
