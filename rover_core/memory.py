"""Keeping the agent small: memory that Python has freed goes back to the system.

Loading settings and symbol tables leaves holes that the C library keeps for later; an agent that then idles for
weeks has no later. Works with glibc; elsewhere (musl) it does nothing.
"""

import ctypes
from collections.abc import Callable
from functools import cache


def release_free_memory() -> None:
    """Give free pages back (malloc_trim(3)). Takes about a millisecond; to be called every few seconds at most."""
    trim = _malloc_trim()
    if trim:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    function = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return function if function is None else lambda pad: int(function(ctypes.c_size_t(pad)))
