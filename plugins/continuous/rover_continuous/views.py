"""What `rover watch` shows: a table that is kept up to date, or lines of JSON."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from rover_continuous.source import Requests
from rover_continuous.watchlist import Look
from rover_core.policies import Trigger
from rover_core.tables import cut_to_fit, plain

if TYPE_CHECKING:
    from rich.table import Table

_SAID: Mapping[Requests, str] = {
    "loading": "Loading the network program ...",
    "watched": "Requests are watched.",
    "not watched": "Requests are not watched.",
}
_MOST = 20  # looks shown: those that are nearest to their thresholds


class View(Protocol):
    """A `rover_continuous.source.Audience`."""

    def checked(self, looks: Sequence[Look]) -> None: ...

    def begun(self, trigger: Trigger, task_id: str) -> None: ...

    def requests(self, state: Requests) -> None: ...

    def close(self) -> None: ...


def make_view(options: str, as_lines: bool) -> View:
    """For what standard output is, unless it is to be lines. options: of the command that shows results."""
    return LinesView(options) if as_lines or not sys.stdout.isatty() else TableView(options)


def nearest(looks: Sequence[Look], most: int = _MOST) -> list[Look]:
    """Those with a value that is nearest to its threshold, or furthest above it, first."""
    known = [look for look in looks if look.newest is not None]
    return sorted(known, key=_nearness, reverse=True)[:most]


def _nearness(look: Look) -> float:
    threshold = look.rule.threshold.value
    return (look.newest or 0.0) / threshold if threshold else float("inf")


def value_record(look: Look) -> dict[str, Any]:
    threshold = look.rule.threshold
    return {
        "type": "value",
        "pid": look.process.pid,
        "name": look.process.name,
        "monitor": threshold.monitor,
        **({"uri": look.uri.label} if look.uri else {}),
        "value": look.newest,
        "threshold": threshold.value,
        "seconds_over": len(look.over),
        "seconds_wanted": threshold.count,
        "period_s": threshold.period_s,
    }


def trigger_record(trigger: Trigger, task_id: str, options: str) -> dict[str, Any]:
    return {
        "type": "trigger",
        "time_ns": time.time_ns(),
        "task": task_id,
        "profiler": trigger.task.profiler,
        "pids": [key.pid for key in trigger.task.processes or ()],
        "name": trigger.process.name,
        "causes": [
            {
                "monitor": cause.monitor,
                **({"uri": cause.uri.label} if cause.uri else {}),
                "threshold": cause.threshold,
                "value": cause.current,
            }
            for cause in trigger.causes
        ],
        **_places(trigger, task_id, options),
    }


def _places(trigger: Trigger, task_id: str, options: str) -> dict[str, str]:
    """The commands that show what comes of it. samples: where there will be some."""
    places = {"result": f"rover history{options} show {task_id}"}
    return {**places, "samples": f"rover trace{options} --task {task_id}"} if _samples(trigger) else places


def _samples(trigger: Trigger) -> bool:
    return bool(trigger.task.settings.get("sampling"))


class LinesView:
    """Standard output: one JSON object a line, for each value and each trigger."""

    def __init__(self, options: str) -> None:
        self._options = options

    def checked(self, looks: Sequence[Look]) -> None:
        self._print(map(value_record, (look for look in looks if look.newest is not None)))

    def begun(self, trigger: Trigger, task_id: str) -> None:
        self._print([trigger_record(trigger, task_id, self._options)])

    def requests(self, state: Requests) -> None:
        with suppress(OSError):
            print(_SAID[state], file=sys.stderr, flush=True)

    def _print(self, records: Any) -> None:
        try:
            for record in records:
                print(json.dumps(record))
            sys.stdout.flush()
        except OSError:  # nobody reads any more: as Ctrl-C
            signal.raise_signal(signal.SIGINT)

    def close(self) -> None:
        pass


class TableView:
    """On a terminal."""

    def __init__(self, options: str) -> None:
        from rich.console import Console
        from rich.live import Live

        self._options = options
        self._console = Console()
        self._live = Live("watching ...", console=self._console, transient=True, auto_refresh=False)
        self._live.start(refresh=True)
        self._begun = 0
        self._loading = False

    def checked(self, looks: Sequence[Look]) -> None:
        table = value_table(looks, max(3, self._console.height - 6))
        if self._loading:
            table.caption = _SAID["loading"]
        self._live.update(table, refresh=True)

    def requests(self, state: Requests) -> None:
        self._loading = state == "loading"

    def begun(self, trigger: Trigger, task_id: str) -> None:
        from rich.text import Text

        self._begun += 1
        seconds = (trigger.task.duration_ns or 0) / 1e9
        causes = "; ".join(map(str, trigger.causes))
        who = f"{plain(trigger.process.name)} ({trigger.process.pid})"
        words = f"{trigger.task.profiler} of {who} for {seconds:g} s, because of {plain(causes)}"
        self._console.print(Text(f"{time.strftime('%H:%M:%S')} {words}", style="bold"), soft_wrap=True)
        for name, command in _places(trigger, task_id, self._options).items():
            self._console.print(Text(f"         its {name}: {command}"), soft_wrap=True)

    def close(self) -> None:
        self._live.stop()
        if not self._begun:
            self._console.print("Nothing passed its threshold.")


def value_table(looks: Sequence[Look], rows: int = _MOST) -> Table:
    """Those that are nearest to their thresholds."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Process", max_width=26)
    table.add_column("Watched")
    for title in ("Now", "Threshold", "Over"):
        table.add_column(title, justify="right", no_wrap=True)
    table.min_width = 60  # for what is beneath it, while it is empty
    shown = nearest(looks, rows)
    for look in shown:
        threshold = look.rule.threshold
        where = f" of {look.uri.label}" if look.uri else ""
        unit, style = threshold.monitor.unit, "red" if (look.newest or 0.0) >= threshold.value else ""
        table.add_row(
            cut_to_fit(plain(f"{look.process.name} ({look.process.pid})")),
            cut_to_fit(plain(f"{threshold.monitor}{where}")),
            Text(f"{look.newest:.4g}{unit}", style=style),
            Text(f"{threshold.value:g}{unit}"),
            Text(f"{min(len(look.over), threshold.count)} of {threshold.count} s", style=style),
        )
    table.caption = _beneath(len(looks), len(shown))
    return table


def _beneath(looks: int, shown: int) -> str | None:
    if not looks:
        return "no such process so far"
    if not shown:
        return f"{looks} to come"
    left = looks - shown
    return f"{left} more, further from their thresholds or without a value yet" if left else None
