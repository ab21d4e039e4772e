"""`rover trace`: sampled exchanges, from the local exporter's store."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from rover_core.commands import Invocation, config_options, pass_invocation
from rover_core.errors import UsageError
from rover_exporter_local.commands import directory_option, store_of

_LAST = "last"


@click.command()
@click.argument("exchange", required=False)
@click.option("--task", metavar="TASK", help="List those of one task, an id from `rover history list`.")
@directory_option
@click.option("--limit", type=click.IntRange(1), default=30, show_default=True, help="How many to list.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each exchange, with its messages.")
@config_options
@pass_invocation
def trace(
    invocation: Invocation,
    exchange: str | None,
    task: str | None,
    directory: Path | None,
    limit: int,
    as_json: bool,
) -> None:
    """List sampled exchanges, the latest last, or show EXCHANGE whole.

    EXCHANGE is an id from the list, a trace's id, or `last`.

    Network tasks sample what their rules ask for: those of a backend, or those of the setting
    profiling.task.network.protocol_analyze.sampling.rules. Secrets are redacted before anything is stored.

    \b
    Examples:
      rover trace
      rover trace 17
      rover trace last
      rover trace --task 20261123-092319-network-17668
      rover trace 0af7651916cd43dd8448eb211c80319c
      rover trace --json | jq 'select(.status == "500") | .subject'
    """
    from rich.console import Console

    from rover_core.sampletable import print_list, print_whole

    if exchange is not None and task is not None:
        raise UsageError("--task contradicts an exchange", why="it lists", remedy="leave one of them out")
    records = _read(store_of(invocation, directory), exchange, task, limit)
    if as_json:
        for record in records:
            click.echo(json.dumps(record))
        return
    console = Console()
    if exchange is None:
        print_list(records, console) if records else console.print("Nothing was sampled yet.")
    for number, record in enumerate(records if exchange is not None else ()):
        console.print("\n" if number else "", end="")
        print_whole(record, console)


def _read(path: Path, exchange: str | None, task: str | None, limit: int) -> list[dict[str, Any]]:
    from rover_exporter_local.store import Store

    with closing(Store.read(path)) as store:
        if exchange is None or exchange == _LAST:
            records = store.samples(limit if exchange is None else 1, task)
        else:
            records = store.find_samples(exchange)
    if not records and (exchange is not None or task is not None):
        what = f"no exchange {exchange!r}" if exchange is not None else f"no exchange of a task {task!r}"
        raise UsageError(f"{what} in {path}", remedy="`rover trace` lists what there is")
    return records
