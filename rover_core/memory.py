"""Keeping the agent small: memory that Python has freed goes back to the system.

Loading settings and symbol tables leaves holes that the C library keeps for later; an agent that then idles for
weeks has no later. Works with glibc; elsewhere (musl) it does nothing.
"""

import ctypes
import gc
from functools import cache
from pathlib import Path
from typing import Any

_M_ARENA_MAX = -8  # malloc.h
_MADV_DONTNEED = 4  # asm-generic/mman-common.h


def use_one_arena() -> None:
    """One heap for all threads instead of one each (mallopt(3)): 2 MB less, and our threads rarely run at once.

    To be called before there are threads.
    """
    mallopt = _from_libc("mallopt")
    if mallopt:
        mallopt(_M_ARENA_MAX, 1)


def settle() -> None:
    """Everything that start-up made stays for good: later collections need not look at it again."""
    gc.collect()
    gc.freeze()


def release_memory() -> None:
    """Give back what nothing needs now. Takes a few ms: to be called every few seconds."""
    gc.collect()
    _release_free_memory()
    _release_idle_code()


def _release_free_memory() -> None:
    """Free pages of the heap, also those in its middle (malloc_trim(3))."""
    trim = _from_libc("malloc_trim")
    if trim:
        trim(ctypes.c_size_t(0))


def _release_idle_code() -> None:
    """Unmap the machine code that nothing needs now: start-up alone leaves 8 MB of imports and initialisation.

    MADV_DONTNEED on read-only executable mappings of files drops this process's view of their pages; what is called
    again is mapped again from the page cache, at the cost of a few hundred minor faults. Such pages are never
    modified (unlike those of other sections, which the dynamic linker has written to), so nothing can be lost.
    """
    madvise = _from_libc("madvise")
    for line in Path("/proc/self/maps").read_text().splitlines() if madvise else ():
        addresses, permissions, _, _, inode, *_ = line.split(maxsplit=5)
        if permissions == "r-xp" and inode != "0":
            start, end = (int(address, 16) for address in addresses.split("-"))
            madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)


@cache
def _from_libc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None)
