"""The load of CPython: as load.c, with one thread and five levels. Prints "units wall_ns cpu_ns"."""

import sys
import time


def leaf(state: int) -> int:
    return sum(number * number & state for number in range(400))


def left(path: int, level: int, state: int) -> int:
    return (right if path & 1 else left)(path >> 1, level - 1, state) + 1 if level else leaf(state)


def right(path: int, level: int, state: int) -> int:
    # Through sorted(), so that C code lies between: CPython calls Python from Python without a frame of its own.
    return sorted([path], key=lambda path: left(path >> 1, level - 1, state))[0] + 2 if level else leaf(state)


start_ns, units = time.monotonic_ns(), 0
while time.monotonic_ns() < start_ns + int(sys.argv[1]) * 1_000_000:
    left(units, 5, units)
    units += 1
print(units, time.monotonic_ns() - start_ns, time.process_time_ns())
