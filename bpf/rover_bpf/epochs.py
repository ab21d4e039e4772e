"""Two sets of maps: programs write to the one that an epoch names, user space empties the other at leisure.

What those share who drain maps that way: waiting for the old set's last writer, and making maps that grow ready.
"""

import os
import time
from collections.abc import Iterable

import numpy as np

from rover_bpf.cpus import online_cpus
from rover_bpf.maps import BpfMap
from rover_bpf.syscalls import wait_for_running_programs

NO_PREALLOC = 1
"""BPF_F_NO_PREALLOC: a hash map that grows as needed."""
GROWS = ("bpf_htab", "ma")
"""The member of the kernel's hash table that shows an allocator for any context (6.1, kernel commit 7c8199e24fa0).

Before, perf events may not use maps that grow at all, and other programs may, but lock up if they allocate where the
kernel does: there, all memory is to be set aside at first.
"""


def settle() -> None:
    """Wait until no program can still be writing to the maps of the old epoch."""
    try:
        wait_for_running_programs()
    except OSError:  # nohz_full: a program runs for microseconds, so this is generous
        time.sleep(0.02)


def warm(growing: Iterable[BpfMap]) -> None:
    """Make every processor's allocator for growing maps fill its reserve, which programs draw from.

    It starts with one element (kernel/bpf/memalloc.c, prefill_mem_cache) and a first event may need several.
    """
    allowed, tables = os.sched_getaffinity(0), list(growing)
    try:
        for cpu in online_cpus():
            os.sched_setaffinity(0, {cpu})
            for table in tables:
                key = np.zeros(1, table.key)[0]
                table.update(key, np.zeros(1, table.value)[0])
                table.delete(key)
    except OSError:  # a processor outside our cpuset: its first event may be counted poorly
        pass
    finally:
        os.sched_setaffinity(0, allowed)
