"""Compares what on-CPU profilers cost, side by side in one run: `make bench`, or `make bench ARGS=--quick`.

Nothing attached, Rover, BCC's profile and perf take turns over the same load of two busy threads.
"""

from collections.abc import Sequence

from contenders import contenders, has_kernel_headers
from measuring import build_load
from turns import against_nothing, median, parser, processors, run

_NO_HEADERS = "No kernel headers on this machine: profile-bpfcc compiled with those of rover_bpf and two more."


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser(__doc__).parse_args(arguments)
    return run(
        options,
        contenders,
        lambda folder: build_load(folder, "load.c"),
        _ROWS,
        [] if has_kernel_headers() else ["", _NO_HEADERS],
    )


_ROWS = {
    "processors the load had, of 2 (less: others were at work)": processors,
    "work done per second, of without": against_nothing(lambda m: m.work.per_second),
    "work done per CPU second, of without": against_nothing(lambda m: m.work.per_cpu_second),
    "samples of the load kept, of expected": median(lambda m: m.samples / m.expected if m.expected else 0, ".1%"),
    "profiler's CPU while sampling, of one processor": median(lambda m: m.sampling_cpu_s / m.work.wall_s, ".2%"),
    "profiler's CPU to start, s": median(lambda m: m.startup_cpu_s, ".2f"),
    "profiler's CPU from the end to the result, s": median(lambda m: m.finish_cpu_s, ".2f"),
    "command to sampling, s": median(lambda m: m.ready_s, ".2f"),
    "resident while sampling, MB": median(lambda m: m.steady_mb, ".0f"),
    "resident at most, with children, MB": median(lambda m: m.peak_mb, ".0f"),
}


if __name__ == "__main__":
    raise SystemExit(main())
