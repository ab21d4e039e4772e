"""Files that are whole or not there."""

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO

from rover_core.errors import RoverError

_READABLE = 0o644


def write_atomically(path: Path, write: Callable[[BinaryIO], None], mode: int | None = None) -> None:
    """Have `write` fill a file beside `path`, which takes that name once it is complete and on the disk.

    mode: as stat(2) has it; None for what the umask leaves of 0644.

    What is no regular file (`/dev/stdout`, a named pipe) is written to instead: it must not be replaced by one.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as device:
            write(device)
    else:
        _replace(path.resolve(), write, _READABLE & ~_umask() if mode is None else mode)


def _replace(path: Path, write: Callable[[BinaryIO], None], mode: int) -> None:
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as out:
        try:
            write(out)  # type: ignore[arg-type]  # typeshed's wrapper is a BinaryIO in all but name
            out.flush()
            os.fsync(out.fileno())
            os.fchmod(out.fileno(), mode)
            os.replace(out.name, path)
        except BaseException:
            Path(out.name).unlink(missing_ok=True)
            raise


def failure_reason(error: Exception) -> str:
    """One sentence, without the path that an OSError repeats."""
    if isinstance(error, RoverError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {error}"


def _umask() -> int:
    # Only settable, so set twice; nothing else in the agent depends on it for that moment.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
