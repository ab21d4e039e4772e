"""Keeping the agent small: memory that Python has freed goes back to the system.

Loading settings and symbol tables leaves holes that the C library keeps for later; an agent that then idles for
weeks has no later. Works with glibc; elsewhere (musl) it does nothing.
"""

import ctypes
from functools import cache
from typing import Any

_M_ARENA_MAX = -8  # malloc.h


def use_one_arena() -> None:
    """One heap for all threads instead of one each (mallopt(3)): 2 MB less, and our threads rarely run at once.

    To be called before there are threads.
    """
    mallopt = _from_libc("mallopt")
    if mallopt:
        mallopt(_M_ARENA_MAX, 1)


def release_free_memory() -> None:
    """Give free pages back (malloc_trim(3)). Takes about a millisecond; to be called every few seconds at most."""
    trim = _from_libc("malloc_trim")
    if trim:
        trim(ctypes.c_size_t(0))


@cache
def _from_libc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None)
