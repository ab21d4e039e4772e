"""The runtime's hooks: it has no profiler of its own, but knows what the host offers to those of others."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rover_core.api import Check, Diagnostic, Settings, hookimpl
from rover_core.model import Process

if TYPE_CHECKING:
    import click


@hookimpl
def rover_diagnostics(settings: Settings) -> Iterable[Diagnostic]:
    from rover_bpf.features import host_diagnostics

    return list(host_diagnostics())


@hookimpl
def rover_process_diagnostics(process: Process) -> Iterable[Diagnostic]:
    from rover_bpf.naming import diagnose_names

    return list(diagnose_names(process))


@hookimpl
def rover_checks() -> Sequence[Check]:
    return [Check("cost", "Measure what Rover's eBPF programs cost on this host, for five seconds, too.", _cost)]


def _cost(settings: Settings) -> Iterable[Diagnostic]:
    from rover_bpf.cost import cost_diagnostics

    return list(cost_diagnostics())


@hookimpl
def rover_commands(cli: "click.Group") -> None:
    from rover_bpf.commands import symbols

    cli.add_command(symbols)
