"""`rover symbols`: where the names of a process's functions come from, checked before anything is profiled."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from rover_core import procfs
from rover_core.commands import config_options
from rover_core.errors import UsageError

if TYPE_CHECKING:  # these bring numpy, which `rover --help` does not need
    from rover_bpf.symbols import Symbolizer
    from rover_bpf.symbols.listing import Source
    from rover_core.model import Process

_LIST = "`rover processes` lists what runs"
_HEADER = ("ADDRESSES", "BUILD ID", "FUNCTIONS", "MEMORY", "FILE", "NAMES FROM")


@click.command()
@click.option("--pid", type=int, required=True, metavar="PID", help="The process to look at.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_options
def symbols(pid: int, as_json: bool) -> None:
    """Say where the names of a process's functions come from.

    Lists each executable mapping with the source of its symbols and how many there are, or why there are none and
    what to do about it.

    \b
    Examples:
      rover symbols --pid 4711
      rover symbols --pid 4711 --json | jq '.mappings[] | select(.functions == 0)'
    """
    from rover_bpf.naming import read_sources
    from rover_bpf.symbols import Symbolizer
    from rover_core.identity.profilable import why_not_profilable

    process = _find(pid)
    symbolizer = Symbolizer(proc=procfs.proc_root())
    sources = read_sources(process, symbolizer)
    objection = why_not_profilable(procfs.proc_root() / str(pid))
    if as_json:
        click.echo(json.dumps(_record(process, sources, symbolizer, objection), indent=2))
    else:
        _print(process, sources, symbolizer, objection)


def _find(pid: int) -> Process:
    process = procfs.read_process(pid)
    if process is None:
        raise UsageError(f"there is no process {pid}", remedy=_LIST)
    if not (procfs.proc_root() / str(pid) / "task" / str(pid)).exists():
        raise UsageError(f"{pid} is a thread, not a process", remedy=_LIST)
    if process.kernel_thread:
        raise UsageError(f"{pid} is a thread of the kernel", why="it has no code of its own", remedy=_LIST)
    return process


def _record(process: Process, sources: Sequence[Source], symbolizer: Symbolizer, objection: str) -> dict[str, Any]:
    stats = symbolizer.stats
    return {
        "pid": process.key.pid,
        "name": process.name,
        "profilable": not objection,
        "not_profilable_because": objection,
        "memory": {"bytes_used": stats.bytes_used, "max_bytes": stats.max_bytes, "tables": stats.tables},
        "mappings": [asdict(source) for source in sources],
    }


def _print(process: Process, sources: Sequence[Source], symbolizer: Symbolizer, objection: str) -> None:
    rows = [_HEADER, *map(_row, sources)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for line in dict.fromkeys(_remarks(sources)):
        click.echo(f"\n{line}")
    stats = symbolizer.stats
    used, most = _size(stats.bytes_used), _size(stats.max_bytes)
    click.echo(f"\n{stats.tables} tables take {used} of at most {most}.")
    verdict = f"no: {objection}" if objection else "yes"
    click.echo(f"Profilable by a backend's tasks (support_ebpf_profiling): {verdict}.")


def _row(source: Source) -> tuple[str, ...]:
    addresses = f"{source.start:x}-{source.end:x}" if source.end else "-"
    origins = " + ".join(f"{origin.name} ({origin.functions})" for origin in source.origins) or "-"
    memory = _size(source.nbytes) if source.functions else "-"
    cells = (addresses, source.build_id[:12] or "-", str(source.functions), memory, source.path, origins)
    return tuple(map(_printable, cells))


def _remarks(sources: Sequence[Source]) -> Iterator[str]:
    for source in sources:
        if source.reason:
            remedy = f"\n  -> {source.remedy}" if source.remedy else ""
            yield f"{_printable(source.path)}: {_printable(source.reason)}{remedy}"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def _printable(text: str) -> str:
    """A path may hold anything: no newline or escape sequence reaches the terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)
