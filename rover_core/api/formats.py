"""File formats of results."""

from collections.abc import Sequence
from typing import BinaryIO, Protocol, runtime_checkable

from rover_core.model import Profile, Telemetry


@runtime_checkable
class ProfileFormat(Protocol):
    """A file format of profiles. `name` is what `--format` takes; `extension` has no leading dot (`pb.gz`).

    binary: whether the bytes would spoil a terminal.
    """

    name: str
    extension: str
    binary: bool
    description: str

    def write(self, profile: Profile, out: BinaryIO) -> None: ...


@runtime_checkable
class TogetherFormat(ProfileFormat, Protocol):
    """A format that can also hold several profiles in one file, in their order. Others get a file for each."""

    def write_together(self, profiles: Sequence[Profile], out: BinaryIO) -> None:
        """Write them; at least one. They are of the same time and the same processes."""
        ...


@runtime_checkable
class TelemetryFormat(Protocol):
    """A file format of telemetry. One object may be this and a `ProfileFormat`: its methods say what it takes."""

    name: str
    extension: str
    binary: bool
    description: str

    def write_telemetry(self, telemetry: Telemetry, out: BinaryIO) -> None:
        """Write a whole task's, added up."""
        ...


Format = ProfileFormat | TelemetryFormat
