"""What the benchmarks of profilers have in common: contenders take turns over one load, and a table is made of it.

What else the machine does meanwhile meets all of them. What counts are ratios within a round, and their medians.
"""

import argparse
import json
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from contenders import Contender, versions
from measuring import Measurement, measure

Rounds = dict[str, list[Measurement]]
Cell = Callable[[Rounds, str], str]
NOTHING = "nothing attached"


def run(
    options: argparse.Namespace,
    find: Callable[[Path], Sequence[Contender]],
    load: Callable[[Path], Sequence[str]],
    rows: Mapping[str, Cell],
    remarks: Sequence[str],
) -> int:
    """Measure and print. find: the contenders, given a folder for what they need; load: the command of what
    is profiled, which gets milliseconds as its last argument.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit("ended"))  # by way of `finally`: no profiler is left behind
    rounds, duration_s = (1, 3.0) if options.quick else (options.rounds, options.duration)
    with tempfile.TemporaryDirectory(prefix="rover-bench-") as name:
        folder = Path(name)
        taken = _take_turns(find(folder), load(folder), rounds, duration_s, folder)
    if options.json:
        print(json.dumps(_record(taken, rounds, duration_s), indent=2))
    else:
        print("\n".join([*_report(taken, rows, rounds, duration_s), *remarks]))
    return 0


def parser(doc: str | None) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    made.add_argument("--rounds", type=int, default=3, help="turns of each (default 3)")
    made.add_argument("--duration", type=float, default=10.0, help="seconds of load a turn (default 10)")
    made.add_argument("--quick", action="store_true", help="one round of 3 seconds: does it work?")
    made.add_argument("--json", action="store_true", help="every measurement, for programs")
    return made


def _take_turns(
    them: Sequence[Contender], load: Sequence[str], rounds: int, duration_s: float, folder: Path
) -> Rounds:
    taken: Rounds = {NOTHING: [], **{each.name: [] for each in them}}
    for number in range(rounds):
        for each in (None, *them):
            name = each.name if each else NOTHING
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr)
            taken[name].append(measure(each, load, duration_s, folder))
    return taken


def _record(taken: Rounds, rounds: int, duration_s: float) -> dict[str, object]:
    measurements = {name: [asdict(each) for each in those] for name, those in taken.items()}
    return {**versions(), "rounds": rounds, "duration_s": duration_s, "measurements": measurements}


def _report(taken: Rounds, rows: Mapping[str, Cell], rounds: int, duration_s: float) -> list[str]:
    """A Markdown table and what one has to know to read it."""
    facts = ", ".join(f"{name} {value}" for name, value in versions().items())
    lines = [
        f"{time.strftime('%Y-%m-%d')}; {facts}; medians of {rounds} rounds of {duration_s:g} s",
        "",
        f"| | {' | '.join(taken)} |",
        "|---|" + "---:|" * len(taken),
    ]
    for title, cell in rows.items():
        lines.append(f"| {title} | {' | '.join(cell(taken, name) for name in taken)} |")
    return lines


def against_nothing(value: Callable[[Measurement], float]) -> Cell:
    """The ratio to the same round's turn without a profiler, and its span over the rounds."""

    def cell(taken: Rounds, name: str) -> str:
        ratios = [value(each) / value(bare) for each, bare in zip(taken[name], taken[NOTHING], strict=True)]
        span = f" ({min(ratios):.3f} to {max(ratios):.3f})" if len(ratios) > 1 and name != NOTHING else ""
        return f"{statistics.median(ratios):.3f}{span}"

    return cell


def median(value: Callable[[Measurement], float], style: str) -> Cell:
    def cell(taken: Rounds, name: str) -> str:
        return "" if name == NOTHING else format(statistics.median(map(value, taken[name])), style)

    return cell


def processors(taken: Rounds, name: str) -> str:
    return f"{statistics.median(each.work.cpu_s / each.work.wall_s for each in taken[name]):.2f}"
