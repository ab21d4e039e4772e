"""`rover profile` of what delivers telemetry: shown while it comes, added up at the end."""

import io
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from rover_core.agent import Agent, Outcome, Parts, Timing, run_to_end
from rover_core.api import AgentContext, Batch, Exporter, Settings, TelemetryFormat
from rover_core.cli.output_choice import Output, check_output
from rover_core.cli.output_file import write_data, writing_stdout
from rover_core.cli.session import describe, say
from rover_core.config.sections import ProfilingSettings
from rover_core.errors import RoverError
from rover_core.flows import Json, TelemetryMerger, json_lines
from rover_core.model import Task, Telemetry

if TYPE_CHECKING:
    from rover_core.plugins import PluginManager


class _View(Protocol):
    """Shows telemetry while it comes."""

    def show(self, telemetry: Telemetry) -> None: ...

    def close(self) -> None:
        """Nothing more will come, or nothing more is to be shown."""
        ...

    def end(self, whole: Telemetry) -> None: ...


class _Watcher:
    """An exporter that adds up, and shows each batch."""

    name = "watcher"

    def __init__(self, view: _View) -> None:
        self._view = view
        self._merger = TelemetryMerger()
        self.failure: OSError | None = None

    async def start(self, context: AgentContext) -> None:
        pass

    async def export(self, batch: Batch) -> None:
        if isinstance(batch, Telemetry):
            self._merger.add(batch)
            if self.failure is None:
                try:
                    self._view.show(batch)
                except OSError as error:  # nobody reads any more: what was seen is still added up
                    self.failure = error

    async def stop(self) -> Sequence[str]:
        return []

    @property
    def whole(self) -> Telemetry | None:
        return self._merger.result()


class _Silent:
    """For what is written when it is whole."""

    def show(self, telemetry: Telemetry) -> None:
        pass

    def close(self) -> None:
        pass

    def end(self, whole: Telemetry) -> None:
        pass


class _Lines(_Silent):
    """A line of JSON for each flow and interval, at once."""

    def show(self, telemetry: Telemetry) -> None:
        for line in json_lines(telemetry):
            print(line)
        sys.stdout.flush()


class _Table(_Silent):
    """One table at the end; on a terminal also the latest interval's, kept up to date until then."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.live import Live

        self._title = title
        self._console = Console()
        self._live = Live(f"{title} ...", console=self._console, transient=True, auto_refresh=False)
        if self._console.is_terminal:
            self._live.start(refresh=True)

    def show(self, telemetry: Telemetry) -> None:
        from rover_core.flowtable import flow_table

        if self._live.is_started:
            table = flow_table(telemetry, self._console, max(3, self._console.height - 6))
            table.title = self._title
            self._live.update(table, refresh=True)

    def close(self) -> None:
        self._live.stop()

    def end(self, whole: Telemetry) -> None:
        from rover_core.flowtable import print_flows
        from rover_core.sampletable import print_samples

        print_flows(whole, self._console)
        print_samples(whole, self._console)


def watch(plugins: "PluginManager", settings: Settings, task: Task, command: str, options: Mapping[str, Any]) -> None:
    """Run a task to its end and show it as --format and --output say, which is checked first."""
    show(plugins, command, describe([task]), options, partial(_run, plugins, settings, task))


def show(
    plugins: "PluginManager",
    command: str,
    title: str,
    options: Mapping[str, Any],
    run: Callable[[Exporter], Coroutine[Any, Any, Outcome]],
) -> None:
    """Show what `run` hands to the exporter that it is given, as --format and --output say."""
    chosen = _choose(plugins, command, options["format_name"], options["output"])
    view = _view(chosen, title)
    watcher = _Watcher(view)
    try:
        outcome = run_to_end(run(watcher))
    finally:
        view.close()
    whole = watcher.whole
    if whole is None:
        raise next(iter(outcome.failures.values()), RoverError("nothing was collected"))
    with writing_stdout("The figures are lost, --output writes a file"):
        if watcher.failure:
            raise watcher.failure
        view.end(whole)
        sys.stdout.flush()
    _finish(whole, outcome, chosen)


def _choose(plugins: "PluginManager", command: str, name: str | None, output: str | None) -> Output[TelemetryFormat]:
    """On a terminal a table, in a pipe lines of JSON, unless something else is asked for."""
    own: list[TelemetryFormat] = [Json()]
    formats = {item.name: item for item in [*own, *plugins.formats()] if isinstance(item, TelemetryFormat)}
    if name is None and output in (None, "-"):
        name = "table" if sys.stdout.isatty() else Json.name
    if name == Json.name and output is None:
        output = "-"
    return check_output(name, output, formats, command)


def _view(chosen: Output[TelemetryFormat], title: str) -> _View:
    if isinstance(chosen.format, Json) and chosen.path is None:
        return _Lines()
    return _Silent() if chosen.format else _Table(title)


async def _run(plugins: "PluginManager", settings: Settings, task: Task, watcher: Exporter) -> Outcome:
    profilers = [item for item in plugins.profilers(settings) if item.name == task.profiler]
    timing = Timing(settings.section(ProfilingSettings).flush_interval)
    agent = Agent(Parts(profilers=profilers, exporters=[watcher]), timing)
    agent.submit(task)
    return await agent.run(until_idle=True)


def _finish(whole: Telemetry, outcome: Outcome, chosen: Output[TelemetryFormat]) -> None:
    from rich.console import Console

    from rover_core.tables import print_completeness

    if chosen.format and not (isinstance(chosen.format, Json) and chosen.path is None):
        write_data(_render(whole, chosen.format), chosen.format, chosen.path)
    if outcome.exited:
        seconds = (whole.end_ns - whole.start_ns) / 1e9
        say(f"What was profiled has exited after {seconds:.1f} s; what it did until then is kept.")
    with suppress(OSError):  # standard error is full: the result is what matters
        print_completeness(whole.completeness, Console(stderr=True), unit="events")
    for failure in outcome.failures.values():
        raise failure


def _render(whole: Telemetry, chosen: TelemetryFormat) -> bytes:
    """The file's content. If the format fails at it, the table at least is shown, on stderr."""
    out = io.BytesIO()
    try:
        chosen.write_telemetry(whole, out)
    except Exception as error:  # a plugin's, whatever it is: the figures must not be lost with it
        from rich.console import Console

        from rover_core.flowtable import print_flows

        print_flows(whole, Console(stderr=True))
        remedy = "The figures are above; another --format may work"
        raise RoverError(f"the format {chosen.name} failed", why=repr(error), remedy=remedy) from error
    return out.getvalue()
