"""Where the result of `rover profile` goes: checked before the work, written after it, and never lost."""

import errno
import io
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rover_core.api import ProfileFormat
from rover_core.cli.session import Result, say
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
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            if not os.access(path, os.W_OK):  # opening a pipe would wait for its reader, and closing it end him
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return
        existed = path.exists()
        with path.open("ab"):
            pass
        if not existed:
            path.unlink()
    except OSError as error:
        why, remedy = error.strerror or str(error), "use another --output"
        raise RoverError(f"cannot write {path}", why=why, remedy=remedy) from error


def write_output(result: Result, output: Output) -> None:
    """Print and write. What cannot be written where it should be is kept in the folder for temporary files."""
    profile = result.profile
    if output.format is not None:
        _write(profile, output.format, output.path)
    if output.table:
        _print_table(profile)
    _say_how_it_went(result, output)


def _say_how_it_went(result: Result, output: Output) -> None:
    from rich.console import Console

    from rover_core.tables import print_completeness

    profile = result.profile
    if result.exited:
        seconds = (profile.end_ns - profile.start_ns) / 1e9
        say(f"What was profiled has exited after {seconds:.1f} s; what it did until then is kept.")
    if not profile.samples and not output.table:
        say("No samples: what was profiled used no CPU time meanwhile.")
    with suppress(OSError):  # standard error is full: the result is what matters
        print_completeness(profile.completeness, Console(stderr=True))


def _print_table(profile: Profile) -> None:
    from rover_core.tables import print_hottest

    with writing_stdout("The table is lost, --format writes a file"):
        print_hottest(profile)
        sys.stdout.flush()


@contextmanager
def writing_stdout(remedy: str) -> Iterator[None]:
    """What standard output refuses becomes a RoverError. A reader who has gone is none of that."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        close_stdout()
        raise RoverError(
            "cannot write to standard output", why=error.strerror or str(error), remedy=remedy
        ) from error


def close_stdout() -> None:
    """Let the interpreter, which flushes standard output once more at its end, find an open door."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write(profile: Profile, chosen: ProfileFormat, path: Path | None) -> None:
    data = _render(profile, chosen)
    try:
        if path is None:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        else:
            _write_file(path, data)
            say(f"Wrote {path} ({chosen.description}).")
    except BrokenPipeError:
        raise
    except OSError as error:
        if path is None:
            close_stdout()
        saved = _rescue(data, chosen.extension)
        kept = f"The profile was saved as {saved}" if saved else "The folder for temporary files is no better"
        target = path or "to standard output"
        raise RoverError(f"cannot write {target}", why=error.strerror or str(error), remedy=kept) from error


def _render(profile: Profile, chosen: ProfileFormat) -> bytes:
    """The file's content. If the format fails at it, the table at least is shown, on stderr."""
    out = io.BytesIO()
    try:
        chosen.write(profile, out)
    except Exception as error:  # a plugin's, whatever it is: the profile must not be lost with it
        from rich.console import Console

        from rover_core.tables import print_hottest

        print_hottest(profile, Console(stderr=True))
        remedy = "The hottest functions are above; another --format may work"
        raise RoverError(f"the format {chosen.name} failed", why=repr(error), remedy=remedy) from error
    return out.getvalue()


def _write_file(path: Path, data: bytes) -> None:
    """A file that was there keeps its content until the new one is whole; devices and pipes are written to."""
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    whole = path.resolve()
    beside = whole.with_name(f".{whole.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        beside.replace(whole)
    except PermissionError:
        path.write_bytes(data)  # a file that may be written in a folder that may not
    finally:
        beside.unlink(missing_ok=True)


def _rescue(data: bytes, extension: str) -> str | None:
    path = None
    try:
        descriptor, path = tempfile.mkstemp(prefix="rover-", suffix=f".{extension}")
        with open(descriptor, "wb") as file:
            file.write(data)
    except OSError:
        if path:
            Path(path).unlink(missing_ok=True)
        return None
    return path
