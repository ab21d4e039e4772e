"""`rover processes`: what can be profiled."""

import re
from collections.abc import Iterable
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import click

from rover_core.api import Discoverer
from rover_core.cli.output import print_columns, print_json
from rover_core.commands import Invocation, config_options, pass_invocation
from rover_core.errors import RoverError
from rover_core.model import Process, ProcessKey


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--match", metavar="REGEX", help="Only processes whose name or command line matches.")
@config_options
@pass_invocation
def processes(invocation: Invocation, as_json: bool, match: str | None) -> None:
    """List the processes that can be profiled.

    \b
    Examples:
      rover processes
      rover processes --match 'python|java'
      rover processes --json | jq '.[].pid'
    """
    pattern = _pattern(match)
    plugins, settings = invocation.load()
    discoverers = plugins.discoverers(settings)
    if not discoverers:
        remedy = "Install one: pip install 'rover-agent[host]'; `rover plugins` shows what is there"
        raise RoverError("no processes to list", why="no discovery plugin is loaded", remedy=remedy)
    found = [process for process in _scan(discoverers) if _matches(process, pattern)]
    if as_json:
        print_json([_record(process) for process in found])
    else:
        print_columns(("PID", "USER", "NAME", "SERVICE", "COMMAND"), [_row(process) for process in found])


def _pattern(match: str | None) -> re.Pattern[str]:
    try:
        return re.compile(match or "")
    except re.error as error:
        raise click.BadParameter(f"{match!r} is not a regular expression: {error}", param_hint="--match") from None


def _scan(discoverers: Iterable[Discoverer]) -> list[Process]:
    """By pid; what several discoverers say about one process is put together."""
    found: dict[ProcessKey, Process] = {}
    for discoverer in discoverers:
        for process in discoverer.scan():
            known = found.get(process.key)
            entities = (*known.entities, *process.entities) if known else process.entities
            found[process.key] = replace(process, entities=tuple(dict.fromkeys(entities)))
    return [found[key] for key in sorted(found)]


def _matches(process: Process, pattern: re.Pattern[str]) -> bool:
    return bool(pattern.search(process.name) or pattern.search(" ".join(process.cmdline)))


def _row(process: Process) -> tuple[object, ...]:
    command = " ".join(process.cmdline) or f"[{process.comm}]"
    services = ", ".join(dict.fromkeys(entity.service for entity in process.entities))
    return process.pid, _user(process.uid), process.name, services or "-", command


def _record(process: Process) -> dict[str, Any]:
    record = asdict(process)
    key = record.pop("key")
    return {**key, "name": process.name, "user": _user(process.uid), **record}


@cache
def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
