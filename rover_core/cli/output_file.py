"""Where the result of `rover profile` goes: checked before the work, written after it, and never lost."""

import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rover_core.api import ProfileFormat
from rover_core.cli.session import say
from rover_core.errors import RoverError, UsageError
from rover_core.model import Profile

_TABLE = "table"
_EXTRA = "pip install 'rover-agent[local]'"


@dataclass(frozen=True, slots=True)
class Output:
    """table: print it. format and path: what to write; path None is standard output."""

    table: bool
    format: ProfileFormat | None = None
    path: Path | None = None


def check_output(name: str | None, output: str | None, formats: Mapping[str, ProfileFormat], stem: str) -> Output:
    """What the options mean. UsageError for what makes no sense, RoverError for what cannot be written."""
    if name is None and output not in (None, "-"):
        name = _format_of(str(output), formats)
    if name == _TABLE or (name is None and (output == "-" or "html" not in formats)):
        return Output(table=True) if output in (None, "-") else _refuse_table()
    if name is not None and name not in formats:
        raise _unknown_format(name, formats)
    chosen = formats[name or "html"]
    if output == "-":
        if chosen.binary and sys.stdout.isatty():
            raise UsageError(f"{chosen.name} is binary and would spoil the terminal", remedy="use --output FILE")
        return Output(False, chosen)
    path = Path(output) if output else Path(f"{time.strftime('%Y%m%d-%H%M%S')}-{stem}.{chosen.extension}")
    _check_writable(path)
    return Output(name is None, chosen, path)


def _refuse_table() -> Output:
    raise UsageError("a table goes to standard output", remedy="redirect it: --format table > FILE")


def _format_of(output: str, formats: Mapping[str, ProfileFormat]) -> str:
    for item in sorted(formats.values(), key=lambda item: -len(item.extension)):
        if output.endswith("." + item.extension):
            return item.name
    known = ", ".join(f".{item.extension}" for item in formats.values()) or "none, " + _EXTRA
    raise UsageError(f"{output!r} does not tell its format", why=f"known endings: {known}", remedy="use --format")


def _unknown_format(name: str, formats: Mapping[str, ProfileFormat]) -> UsageError:
    known = ", ".join([*formats, _TABLE])
    remedy = "" if formats else f"html, folded, pprof and speedscope come with: {_EXTRA}"
    return UsageError(f"there is no format {name!r}", why=f"there are: {known}", remedy=remedy)


def _check_writable(path: Path) -> None:
    """Better said now than after a minute of profiling."""
    existed = path.exists()
    try:
        with path.open("ab"):
            pass
        if not existed:
            path.unlink()
    except OSError as error:
        raise RoverError(
            f"cannot write {path}", why=error.strerror or str(error), remedy="use another --output"
        ) from error


def write_output(profile: Profile, output: Output) -> None:
    """Print and write. What cannot be written where it should be is kept in the folder for temporary files."""
    from rich.console import Console

    from rover_core.tables import print_completeness, print_hottest

    if output.table:
        print_hottest(profile)
    if output.format is not None:
        if output.path is None:
            output.format.write(profile, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            _write_file(profile, output.format, output.path)
    print_completeness(profile.completeness, Console(stderr=True))
    if not profile.samples:
        say("No samples: what was profiled used no CPU time meanwhile.")


def _write_file(profile: Profile, chosen: ProfileFormat, path: Path) -> None:
    try:
        with path.open("wb") as file:
            chosen.write(profile, file)
    except OSError as error:
        saved = _rescue(profile, chosen)
        kept = f"the profile was saved as {saved}" if saved else "and the folder for temporary files is no better"
        raise RoverError(f"cannot write {path}", why=error.strerror or str(error), remedy=kept) from error
    say(f"Wrote {path} ({chosen.description}).")


def _rescue(profile: Profile, chosen: ProfileFormat) -> str | None:
    try:
        descriptor, path = tempfile.mkstemp(prefix="rover-", suffix=f".{chosen.extension}")
        with open(descriptor, "wb") as file:
            chosen.write(profile, file)
        return path
    except OSError:
        return None
