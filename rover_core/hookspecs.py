"""Every hook of Rover, on one page. Hooks hand over objects; none is on a per-event path.

Write `from rover_core.api import hookimpl`, decorate a function of the same name in your plugin module, and name
that module in the entry point group `rover.plugins`. Every hook is optional. Returning None or an empty list
means "nothing from me". An exception marks your plugin as failed, with its text, and the others go on.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from rover_core.api import (
    Check,
    Diagnostic,
    Discoverer,
    Exporter,
    Format,
    PolicySource,
    ProfileCommand,
    Profiler,
    RecordCommand,
    Settings,
    SettingsSection,
    TaskSource,
    TlsLibrary,
    WireProtocol,
    hookspec,
)
from rover_core.model import Process

if TYPE_CHECKING:  # the agent itself has no command line in memory
    import click


@hookspec
def rover_settings() -> Sequence[SettingsSection]:  # type: ignore[empty-body]
    """Sections of the settings tree. Called once, before any configuration is read. Since 0.1."""


@hookspec
def rover_discoverers(settings: Settings) -> Sequence[Discoverer]:  # type: ignore[empty-body]
    """What finds processes. Called once, when the agent starts or `rover processes` runs. Since 0.1."""


@hookspec
def rover_profilers(  # type: ignore[empty-body]
    settings: Settings,
    protocols: Callable[[], Sequence[WireProtocol]],
    tls_libraries: Callable[[], Sequence[TlsLibrary]],
) -> Sequence[Profiler]:
    """Profilers, not started; eBPF is loaded with the first task. Called once, when the agent starts. Since 0.1.

    protocols, tls_libraries: what `rover_protocols` and `rover_tls_libraries` of all plugins bring, for a profiler of
    connections; leave them out otherwise.
    """


@hookspec
def rover_protocols(settings: Settings) -> Sequence[WireProtocol]:  # type: ignore[empty-body]
    """Protocols that connections speak. Called once, by a profiler of connections when it starts. Since 0.1."""


@hookspec
def rover_tls_libraries(settings: Settings) -> Sequence[TlsLibrary]:  # type: ignore[empty-body]
    """Libraries that encrypt connections. Called once, by a profiler of connections when it starts. Since 0.1."""


@hookspec
def rover_profile_commands() -> Sequence[ProfileCommand]:  # type: ignore[empty-body]
    """Sub-commands of `rover profile`. Called when the command line is built: import lazily. Since 0.1."""


@hookspec
def rover_record_commands() -> Sequence[RecordCommand]:  # type: ignore[empty-body]
    """Sub-commands of `rover record`, and what `rover replay` reads. Called when either is built. Since 0.1."""


@hookspec
def rover_exporters(settings: Settings) -> Sequence[Exporter]:  # type: ignore[empty-body]
    """Exporters, not started. Called once, when the agent starts. Since 0.1."""


@hookspec
def rover_formats() -> Sequence[Format]:  # type: ignore[empty-body]
    """File formats a profile, or telemetry, can be written in. Called when a command offers `--format`. Since 0.1."""


@hookspec
def rover_task_sources(  # type: ignore[empty-body]
    settings: Settings, policies: Callable[[], Sequence[PolicySource]]
) -> Sequence[TaskSource]:
    """Where tasks come from besides the command line. Called once, when the agent starts. Since 0.1.

    policies: what `rover_policy_sources` of all plugins brings, for who begins tasks by policies; leave it out
    otherwise.
    """


@hookspec
def rover_policy_sources(settings: Settings) -> Sequence[PolicySource]:  # type: ignore[empty-body]
    """Where policies of continuous profiling come from besides the configuration. Called once, by what heeds them,
    when the agent starts. Since 0.1."""


@hookspec
def rover_diagnostics(settings: Settings) -> Iterable[Diagnostic]:  # type: ignore[empty-body]
    """Lines of `rover doctor`: what this plugin needs of the host and whether it is there. Since 0.1."""


@hookspec
def rover_process_diagnostics(  # type: ignore[empty-body]
    settings: Settings, process: Process, tls_libraries: Callable[[], Sequence[TlsLibrary]]
) -> Iterable[Diagnostic]:
    """Lines of `rover doctor --pid`: what this plugin can see of a process, and what it cannot. Since 0.1."""


@hookspec
def rover_checks(  # type: ignore[empty-body]
    protocols: Callable[[Settings], Sequence[WireProtocol]],
) -> Sequence[Check]:
    """What `rover doctor` looks at when asked by an option. Called when the command line is built. Since 0.1.

    protocols: what `rover_protocols` of all plugins brings; leave it out otherwise.
    """


@hookspec
def rover_commands(cli: "click.Group") -> None:
    """Add sub-commands to `rover`. Called once, when the command line is built: import lazily. Since 0.1."""
