"""Where the result of `rover profile` is to go: checked before the work."""

import errno
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from rover_core.api import Format, TogetherFormat
from rover_core.errors import RoverError, UsageError

_TABLE = "table"
Chosen = TypeVar("Chosen", bound=Format)
_EXTRA = "pip install 'rover-agent[local]'"


@dataclass(frozen=True, slots=True)
class Output(Generic[Chosen]):
    """table: print it. format and path: what to write, and where; path None is standard output.

    parts: instead of one path, a file for each profile, by the profiler's name.
    """

    table: bool
    format: Chosen | None = None
    path: Path | None = None
    parts: Mapping[str, Path] = field(default_factory=dict)


def check_output(
    name: str | None,
    output: str | None,
    formats: Mapping[str, Chosen],
    command: str,
    parts: Mapping[str, str] | None = None,
) -> Output[Chosen]:
    """What the options mean. UsageError for what makes no sense, RoverError for what cannot be written.

    command: names the file if nobody does. parts: a word for each profiler, if there are several.
    """
    if name is None and output not in (None, "-"):
        name = _format_of(str(output), formats)
    if name == _TABLE or (name is None and (output == "-" or "html" not in formats)):
        return Output(table=True) if output in (None, "-") else _refuse_table()
    if name is not None and name not in formats:
        raise _unknown_format(name, formats)
    chosen = formats[name or "html"]
    split = {} if parts is None or isinstance(chosen, TogetherFormat) else parts
    if output == "-":
        return Output(False, _for_stdout(chosen, split))
    stem, ending = _stem(output, chosen, "" if split else command)
    paths = {profiler: Path(f"{stem}-{word}{ending}") for profiler, word in split.items()}
    path = Path(stem + ending)
    for each in paths.values() or [path]:
        _check_writable(each)
    return Output(name is None, chosen, path, paths)


def _for_stdout(chosen: Chosen, split: Mapping[str, str]) -> Chosen:
    if split:
        why = f"{chosen.name} holds one profile a file"
        raise UsageError("several profiles cannot go to standard output", why=why, remedy="use --output FILE")
    if chosen.binary and sys.stdout.isatty():
        raise UsageError(f"{chosen.name} is binary and would spoil the terminal", remedy="use --output FILE")
    return chosen


def _stem(output: str | None, chosen: Format, command: str) -> tuple[str, str]:
    """The file's path in two: what goes in front of a part's word, and the ending."""
    ending = f".{chosen.extension}"
    if output is None:
        return "-".join(filter(None, (time.strftime("%Y%m%d-%H%M%S"), command))), ending
    if output.endswith(ending):
        return output.removesuffix(ending), ending
    suffix = Path(output).suffix
    return output[: len(output) - len(suffix)], suffix


def _refuse_table() -> Output[Chosen]:
    raise UsageError("a table goes to standard output", remedy="redirect it: --format table > FILE")


def _format_of(output: str, formats: Mapping[str, Chosen]) -> str:
    for item in sorted(formats.values(), key=lambda item: -len(item.extension)):
        if output.endswith("." + item.extension):
            return item.name
    known = ", ".join(f".{item.extension}" for item in formats.values()) or "none, " + _EXTRA
    raise UsageError(f"{output!r} does not tell its format", why=f"known endings: {known}", remedy="use --format")


def _unknown_format(name: str, formats: Mapping[str, Chosen]) -> UsageError:
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
