"""Compares what on-CPU profilers cost, side by side in one run: `make bench`, or `make bench ARGS=--quick`.

Nothing attached, Rover, BCC's profile and perf take turns over the same load of two busy threads, so that what else
the machine does meanwhile meets all of them. What counts are ratios within a round, and their medians.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from contenders import Contender, contenders, has_kernel_headers, versions
from measuring import Measurement, build_load, measure

Rounds = dict[str, list[Measurement]]
_NOTHING = "nothing attached"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    rounds, duration_s = (1, 3.0) if options.quick else (options.rounds, options.duration)
    with tempfile.TemporaryDirectory(prefix="rover-bench-") as name:
        folder = Path(name)
        taken = _take_turns(contenders(folder), build_load(folder), rounds, duration_s, folder)
    if options.json:
        print(json.dumps(_record(taken, rounds, duration_s), indent=2))
    else:
        print("\n".join(_report(taken, rounds, duration_s)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (default 3)")
    parser.add_argument("--duration", type=float, default=10.0, help="seconds of load a turn (default 10)")
    parser.add_argument("--quick", action="store_true", help="one round of 3 seconds: does it work?")
    parser.add_argument("--json", action="store_true", help="every measurement, for programs")
    return parser


def _take_turns(them: Sequence[Contender], program: Path, rounds: int, duration_s: float, folder: Path) -> Rounds:
    taken: Rounds = {_NOTHING: [], **{each.name: [] for each in them}}
    for number in range(rounds):
        for each in (None, *them):
            name = each.name if each else _NOTHING
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr)
            taken[name].append(measure(each, program, duration_s, folder))
    return taken


def _record(taken: Rounds, rounds: int, duration_s: float) -> dict[str, object]:
    measurements = {name: [asdict(each) for each in those] for name, those in taken.items()}
    return {**versions(), "rounds": rounds, "duration_s": duration_s, "measurements": measurements}


def _report(taken: Rounds, rounds: int, duration_s: float) -> list[str]:
    """A Markdown table and what one has to know to read it."""
    facts = ", ".join(f"{name} {value}" for name, value in versions().items())
    lines = [
        f"{time.strftime('%Y-%m-%d')}; {facts}; medians of {rounds} rounds of {duration_s:g} s",
        "",
        f"| | {' | '.join(taken)} |",
        "|---|" + "---:|" * len(taken),
    ]
    for title, cell in _ROWS.items():
        lines.append(f"| {title} | {' | '.join(cell(taken, name) for name in taken)} |")
    if not has_kernel_headers():
        lines += [
            "",
            "No kernel headers on this machine: profile-bpfcc compiled with those of rover_bpf and two more.",
        ]
    return lines


def _against_nothing(value: Callable[[Measurement], float]) -> Callable[[Rounds, str], str]:
    """The ratio to the same round's turn without a profiler, and its span over the rounds."""

    def cell(taken: Rounds, name: str) -> str:
        ratios = [value(each) / value(bare) for each, bare in zip(taken[name], taken[_NOTHING], strict=True)]
        span = f" ({min(ratios):.3f} to {max(ratios):.3f})" if len(ratios) > 1 and name != _NOTHING else ""
        return f"{statistics.median(ratios):.3f}{span}"

    return cell


def _median(value: Callable[[Measurement], float], style: str) -> Callable[[Rounds, str], str]:
    def cell(taken: Rounds, name: str) -> str:
        return "" if name == _NOTHING else format(statistics.median(map(value, taken[name])), style)

    return cell


def _processors(taken: Rounds, name: str) -> str:
    return f"{statistics.median(each.work.cpu_s / each.work.wall_s for each in taken[name]):.2f}"


_ROWS = {
    "processors the load had, of 2 (less: others were at work)": _processors,
    "work done per second, of without": _against_nothing(lambda m: m.work.per_second),
    "work done per CPU second, of without": _against_nothing(lambda m: m.work.per_cpu_second),
    "samples of the load kept, of expected": _median(lambda m: m.samples / m.expected if m.expected else 0, ".1%"),
    "profiler's CPU while sampling, of one processor": _median(lambda m: m.sampling_cpu_s / m.work.wall_s, ".2%"),
    "profiler's CPU to start, s": _median(lambda m: m.startup_cpu_s, ".2f"),
    "profiler's CPU from the end to the result, s": _median(lambda m: m.finish_cpu_s, ".2f"),
    "command to sampling, s": _median(lambda m: m.ready_s, ".2f"),
    "resident while sampling, MB": _median(lambda m: m.steady_mb, ".0f"),
    "resident at most, with children, MB": _median(lambda m: m.peak_mb, ".0f"),
}


if __name__ == "__main__":
    raise SystemExit(main())
