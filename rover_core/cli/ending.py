"""How a process of Rover ends: with one sentence for what people can cause, and an exit status that tells."""

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from rover_core.errors import RoverError

_ABORTED = 130  # 128 + SIGINT, as shells have it
_BROKEN_PIPE = 141  # 128 + SIGPIPE
_THREADS_END_WITHIN_S = 0.3


def guarded(function: Callable[[], object]) -> int:
    """Call it and return the exit status: what it returns if that is a number, else 0, or that of its failure."""
    try:
        status = function()
        sys.stdout.flush()
    except RoverError as error:
        complain(str(error))
        return error.exit_status
    except KeyboardInterrupt:
        return _ABORTED
    except BrokenPipeError:
        _discard_output()
        return _BROKEN_PIPE
    except OSError as error:
        # Of a host, not of a programmer; what can be said more precisely was said where it arose.
        complain(f"{error.filename or 'cannot write the output'}: {error.strerror or error}")
        _discard_output()
        return 1
    return status if isinstance(status, int) else 0


def _discard_output() -> None:
    """The interpreter flushes stdout once more at exit; let it find an open door."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(text: str) -> None:
    """One sentence on standard error."""
    with suppress(OSError):  # it is full or closed: the exit status still tells
        print(f"rover: {text}", file=sys.stderr, flush=True)


def open_standard_streams() -> None:
    """Give stdout and stderr something to write to where they were closed before the start (`2>&-`)."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # for as long as the process lives


def leave(status: int) -> None:
    """End the process. The interpreter would wait for threads; one that hangs in a plugin is not waited for."""
    deadline = time.monotonic() + _THREADS_END_WITHIN_S
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                sys.stdout.flush()
                os._exit(status)
    sys.exit(status)
