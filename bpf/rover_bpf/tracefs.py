"""Finding the kernel's tracing file system, and mounting it where nobody has."""

import ctypes
import os
from pathlib import Path

from rover_core.errors import RoverError

_PLACES = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))


def tracefs() -> Path:
    """Where tracefs is. Mounts it on /sys/kernel/tracing if it is nowhere; RoverError if that is refused."""
    found = find_tracefs()
    if found:
        return found
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tracefs", bytes(_PLACES[0]), b"tracefs", 0, None) == 0 and (found := find_tracefs()):
        return found
    raise RoverError(
        "tracefs is not mounted and could not be",
        why=os.strerror(ctypes.get_errno()),
        remedy="run as root: mount -t tracefs tracefs /sys/kernel/tracing",
    )


def find_tracefs() -> Path | None:
    """Where tracefs is mounted and may be read, None if it is not."""
    for place in _PLACES:
        try:
            if (place / "events").is_dir():
                return place
        except OSError:  # mounted, but not for us
            continue
    return None


def tracepoint_id(category: str, name: str) -> int:
    """The number perf knows a tracepoint by. RoverError if this kernel has none of that name."""
    path = tracefs() / "events" / category / name / "id"
    try:
        return int(path.read_text())
    except FileNotFoundError as error:
        raise RoverError(f"this kernel has no tracepoint {category}:{name}", why=f"{path} is missing") from error
    except OSError as error:
        raise RoverError(
            f"tracepoint {category}:{name} cannot be used",
            why=f"{path}: {error.strerror}",
            remedy="run as root, or grant CAP_DAC_READ_SEARCH",
        ) from error
