"""Writes the result of `rover profile`, so that it is never lost."""

import io
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rover_core.api import Format, ProfileFormat, TogetherFormat
from rover_core.cli.output_choice import Output
from rover_core.cli.session import Result, say
from rover_core.errors import RoverError
from rover_core.model import Profile
from rover_core.showing import nothing_sentence


def write_output(result: Result, output: Output[ProfileFormat]) -> None:
    """Print and write. What cannot be written where it should be is kept in the folder for temporary files."""
    if output.format is not None:
        for profiles, path in _files(result.profiles, output):
            write_data(_render(profiles, output.format), output.format, path)
    if output.table:
        _print_tables(result.profiles)
    for profile in result.profiles:
        _say_how_it_went(profile, result, output)


def _files(profiles: Sequence[Profile], output: Output[ProfileFormat]) -> list[tuple[Sequence[Profile], Path | None]]:
    if output.parts:
        return [([profile], output.parts[profile.profiler]) for profile in profiles]
    return [(profiles, output.path)]


def _say_how_it_went(profile: Profile, result: Result, output: Output[ProfileFormat]) -> None:
    from rich.console import Console

    from rover_core.tables import print_completeness

    if result.exited and profile is result.profiles[0]:
        seconds = (profile.end_ns - profile.start_ns) / 1e9
        say(f"What was profiled has exited after {seconds:.1f} s; what it did until then is kept.")
    if not profile.samples and not output.table:
        say(nothing_sentence(profile))
    of = profile.profiler if len(result.profiles) > 1 else ""
    with suppress(OSError):  # standard error is full: the result is what matters
        print_completeness(profile.completeness, Console(stderr=True), of)


def _print_tables(profiles: Sequence[Profile]) -> None:
    from rover_core.tables import print_profiles

    with writing_stdout("The table is lost, --format writes a file"):
        print_profiles(profiles)
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


def write_data(data: bytes, chosen: Format, path: Path | None) -> None:
    """To a file, or standard output. RoverError says why that failed and where it was kept instead."""
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
        kept = f"The result was saved as {saved}" if saved else "The folder for temporary files is no better"
        target = path or "to standard output"
        raise RoverError(f"cannot write {target}", why=error.strerror or str(error), remedy=kept) from error


def _render(profiles: Sequence[Profile], chosen: ProfileFormat) -> bytes:
    """The file's content. If the format fails at it, the table at least is shown, on stderr."""
    out = io.BytesIO()
    try:
        if len(profiles) > 1 and isinstance(chosen, TogetherFormat):
            chosen.write_together(profiles, out)
        else:
            chosen.write(profiles[0], out)
    except Exception as error:  # a plugin's, whatever it is: the profile must not be lost with it
        from rich.console import Console

        from rover_core.tables import print_profiles

        print_profiles(profiles, Console(stderr=True))
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
