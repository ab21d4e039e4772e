"""`rover history`: what was profiled on this host, from the local exporter's store."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from rover_core.commands import Invocation, config_options, pass_invocation
from rover_core.errors import RoverError, UsageError
from rover_core.model import Profile, Telemetry
from rover_exporter_local.database import FILLED_BY
from rover_exporter_local.settings import SECTION, LocalSettings, store_path

_LAST = "last"
_FORMATS = ("html", "json", "folded", "pprof", "speedscope")

directory_option = click.option(
    "--directory",
    type=click.Path(path_type=Path),
    help=f"Where the store lies. By default where the agent keeps it: the setting {SECTION}.directory.",
)


@click.group()
@config_options
def history() -> None:
    """Look at earlier profiles of this host.

    \b
    Examples:
      rover history list
      rover history -c /etc/rover.yaml list
      rover history show last
      rover history export last --format html --output flames.html
    """


@history.command("list")
@directory_option
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
@config_options
@pass_invocation
def list_tasks(invocation: Invocation, directory: Path | None, as_json: bool) -> None:
    """List the tasks in the store, the latest last.

    \b
    Examples:
      rover history list
      rover history list --json | jq '.[-1].id'
    """
    from rover_exporter_local.listing import as_records, print_tasks
    from rover_exporter_local.store import Store

    with closing(Store.read(store_of(invocation, directory))) as store:
        tasks = store.tasks()
    if as_json:
        click.echo(json.dumps(as_records(tasks), indent=2))
    else:
        print_tasks(tasks)


@history.command()
@click.argument("task")
@directory_option
@click.option("--limit", type=click.IntRange(1), default=15, show_default=True, help="How many functions or flows.")
@config_options
@pass_invocation
def show(invocation: Invocation, task: str, directory: Path | None, limit: int) -> None:
    """Show the hottest functions or largest flows of TASK. It is an id from `rover history list`, or `last`.

    \b
    Examples:
      rover history show last
      rover history show 4f1c --limit 40
    """
    from rover_core.flowtable import print_flows
    from rover_core.tables import print_completeness, print_hottest
    from rover_exporter_local.listing import print_heading

    path = store_of(invocation, directory)
    seen = _load(task, path)
    print_heading(seen)
    if isinstance(seen, Telemetry):
        print_flows(seen, limit=limit)
        _print_sampled(seen.task_id, path, invocation, directory)
        print_completeness(seen.completeness, unit="events")
    else:
        print_hottest(seen, limit=limit)
        print_completeness(seen.completeness)


@history.command()
@click.argument("task")
@directory_option
@click.option("--format", "format_name", type=click.Choice(_FORMATS), default="html", show_default=True)
@click.option("--output", required=True, metavar="FILE", help="The file to write; - for standard output.")
@config_options
@pass_invocation
def export(invocation: Invocation, task: str, directory: Path | None, format_name: str, output: str) -> None:
    """Write TASK, an id from `rover history list` or `last`, to a file.

    \b
    Examples:
      rover history export last --output flames.html
      rover history export last --format pprof --output last.pb.gz && go tool pprof last.pb.gz
      rover history export last --format folded --output - | sort | head
    """
    from rover_exporter_local.formats import FORMATS, bound

    binary = format_name in FORMATS and FORMATS[format_name].binary
    if output == "-" and binary and sys.stdout.isatty():
        raise UsageError(f"{format_name} is not text", why="it would spoil this terminal", remedy="Name a file")
    seen = _load(task, store_of(invocation, directory))
    chosen = bound(seen, format_name)
    if chosen is None:
        others = ", ".join(name for name in _FORMATS if bound(seen, name))
        raise UsageError(f"{seen.profiler} tasks cannot be written as {format_name}", why=f"they can as {others}")
    if output == "-":
        chosen.write(sys.stdout.buffer)
    else:
        _write(Path(output), chosen.write)
        click.echo(f"{chosen.format.description}: {output}")


def store_of(invocation: Invocation, directory: Path | None) -> Path:
    return store_path(directory or invocation.section(SECTION, LocalSettings).directory)


def _load(task: str, path: Path) -> Profile | Telemetry:
    from rover_exporter_local.store import Store

    with closing(Store.read(path)) as store:
        return store.load(_last_of(store.tasks(), path.parent) if task == _LAST else task)


def _print_sampled(task: str, path: Path, invocation: Invocation, directory: Path | None) -> None:
    """Say where the task's samples are."""
    from rover_exporter_local.store import Store

    with closing(Store.read(path)) as store:
        count = store.count_samples(task)
    if count:
        place = {"-c": invocation.config, "--directory": directory}
        options = [word for name, value in place.items() if value for word in (name, str(value))]
        command = shlex.join(["rover", "trace", *options, "--task", task])
        click.echo(f"Sampled were {count:,} exchange{'s' * (count != 1)}: {command}")


def _last_of(tasks: list[Any], directory: Path) -> str:
    if not tasks:
        raise RoverError(f"no history in {directory}", why="the store is empty", remedy=f"{FILLED_BY} fill it")
    return str(tasks[-1].task_id)


def _write(path: Path, write: Callable[[Any], None]) -> None:
    from rover_exporter_local.files import failure_reason, write_atomically

    try:
        write_atomically(path, write)
    except OSError as error:
        remedy = "Name a file in a directory you may write to, with space left"
        raise RoverError(f"cannot write {path}", why=failure_reason(error), remedy=remedy) from error
