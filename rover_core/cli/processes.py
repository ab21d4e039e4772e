"""`rover processes`: what can be profiled."""

import re
from dataclasses import asdict
from functools import cache
from typing import Any

import click

from rover_core.cli.output import print_columns, print_json
from rover_core.commands import Invocation, config_options, pass_invocation
from rover_core.errors import RoverError
from rover_core.model import Process

_HEADER = ("PID", "USER", "NAME", "SERVICE", "INSTANCE", "LAYER", "CONTAINER", "SYMBOLS", "COMMAND")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--match", metavar="REGEX", help="Only processes whose name or command line matches.")
@config_options
@pass_invocation
def processes(invocation: Invocation, as_json: bool, match: str | None) -> None:
    """List the processes that can be profiled, and who they are to a backend.

    SYMBOLS says whether a backend is told that it can be profiled: its executable names its own functions, or its
    interpreter writes a perf map. JSON has all entities, and the properties that a backend is sent.

    \b
    Examples:
      rover processes
      rover processes --match 'python|java'
      rover processes -c /etc/rover.yaml --match nginx
      rover processes --json | jq '.[] | select(.properties.container_id) | .pid'
    """
    from rover_core.processes import join_processes

    pattern = _pattern(match)
    plugins, settings = invocation.load()
    discoverers = plugins.discoverers(settings)
    if not discoverers:
        remedy = "Install one: pip install 'rover-agent[host]'; `rover plugins` shows what is there"
        raise RoverError("no processes to list", why="no discovery plugin is loaded", remedy=remedy)
    known = join_processes(discoverer.scan() for discoverer in discoverers)
    found = [known[key] for key in sorted(known) if _matches(known[key], pattern)]
    if as_json:
        print_json([_record(process) for process in found])
    else:
        print_columns(_HEADER, [_row(process) for process in found])


def _pattern(match: str | None) -> re.Pattern[str]:
    try:
        return re.compile(match or "")
    except re.error as error:
        raise click.BadParameter(f"{match!r} is not a regular expression: {error}", param_hint="--match") from None


def _matches(process: Process, pattern: re.Pattern[str]) -> bool:
    return bool(pattern.search(process.name) or pattern.search(" ".join(process.cmdline)))


def _row(process: Process) -> tuple[object, ...]:
    command = " ".join(process.cmdline) or f"[{process.comm}]"
    known = dict(process.properties)
    names = [(entity.service, entity.instance, entity.layer) for entity in process.entities]
    entities = [", ".join(dict.fromkeys(column)) for column in zip(*names, strict=True)] or ["-"] * 3
    support = {"true": "yes", "false": "no"}.get(known.get("support_ebpf_profiling", ""), "-")
    container = known.get("container_id", "-")[:12]
    return process.pid, _user(process.uid), process.name, *entities, container, support, command


def _record(process: Process) -> dict[str, Any]:
    record = asdict(process) | {"properties": dict(process.properties)}
    key = record.pop("key")
    return {**key, "name": process.name, "user": _user(process.uid), **record}


@cache
def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
