"""How tasks of the store are shown."""

from __future__ import annotations

from typing import Any

from rover_core.model import Profile, Telemetry
from rover_core.policies import CAUSES
from rover_core.showing import duration_text
from rover_core.tables import completeness_sentence, plain
from rover_exporter_local.reading import TaskSummary
from rover_exporter_local.text import moment


def as_records(tasks: list[TaskSummary]) -> list[dict[str, Any]]:
    """For JSON: times in nanoseconds of the Unix epoch, `complete` as a share, 0..1."""
    return [
        {
            "id": task.task_id,
            "profiler": task.profiler,
            "start_ns": task.start_ns,
            "end_ns": task.end_ns,
            "samples": task.completeness.kept,
            "expected": task.completeness.expected,
            "processes": task.processes,
            "complete": task.completeness.ratio,
            "completeness": completeness_sentence(task.completeness),
            "causes": task.causes,
        }
        for task in tasks
    ]


def print_tasks(tasks: list[TaskSummary]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not tasks:
        console.print("Nothing was profiled yet.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=0)
    table.add_column("Task", no_wrap=True)  # whole, for it is what the other commands take
    table.add_column("Profiler", no_wrap=True)
    table.add_column("Start", min_width=10)  # the one to be wrapped, between day and time
    for title in ("Duration", "Samples", "Procs", "Complete"):
        table.add_column(title, justify="right", no_wrap=True)
    for task in tasks:
        table.add_row(*(Text(cell) for cell in _cells(task)))
    console.print(table)


def print_heading(profile: Profile | Telemetry) -> None:
    from rich.console import Console
    from rich.text import Text

    span = duration_text(profile.end_ns - profile.start_ns)
    when = f"{moment(profile.start_ns):%Y-%m-%d %H:%M:%S}"
    text = f"{plain(profile.profiler)}, task {plain(profile.task_id)}: {when}, {span}"
    Console().print(Text(text, style="bold"), soft_wrap=True)
    if causes := profile.attributes.get(CAUSES):
        Console().print(Text(f"Begun because of {plain(causes)}"), soft_wrap=True)


def _cells(task: TaskSummary) -> tuple[str, ...]:
    known = task.completeness
    return (
        plain(task.task_id),
        plain(task.profiler),
        f"{moment(task.start_ns):%Y-%m-%d %H:%M}",
        duration_text(task.end_ns - task.start_ns),
        f"{known.kept:,}",
        f"{task.processes:,}",
        # Rounded down: one sample lost is not 100 %.
        f"{int(known.ratio * 1000) / 10:.1f} %",
    )
