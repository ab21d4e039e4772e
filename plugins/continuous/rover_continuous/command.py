"""`rover watch`: a policy from the command line, and what it sees."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from rover_core.commands import DURATION, Invocation, config_options, pass_invocation, run_agent
from rover_core.config import parse_duration
from rover_core.errors import UsageError
from rover_core.policies import LONGEST_PERIOD_S, Monitor, Policy, Threshold, Uri

if TYPE_CHECKING:
    from rover_continuous.source import Requests
    from rover_continuous.views import View
    from rover_continuous.watchlist import Look
    from rover_core.api import ProfileCommand
    from rover_core.model import Process, ProcessKey
    from rover_core.policies import Trigger

_PROFILE_FOR = parse_duration("30s")
_LATER_S = 30  # a request counts in the second it began in once it is answered, and not every second has one
_VALUES = {
    "cpu": Monitor.PROCESS_CPU,
    "threads": Monitor.PROCESS_THREAD_COUNT,
    "load": Monitor.SYSTEM_LOAD,
    "http_errors": Monitor.HTTP_ERROR_RATE,
    "http_time": Monitor.HTTP_AVG_RESPONSE_TIME,
}


@click.command()
@click.option(
    "--cpu", type=float, metavar="PERCENT", help="CPU time of a process; 100 is all processors of the host."
)
@click.option("--threads", type=float, metavar="N", help="Threads of a process.")
@click.option("--load", type=float, metavar="L", help="The host's load average of one minute.")
@click.option("--http-errors", type=float, metavar="PERCENT", help="Requests answered with 500 and above.")
@click.option("--http-time", type=DURATION, metavar="D", help="Average time to answer a request, e.g. 200ms.")
@click.option("--uri", "uris", multiple=True, metavar="PATH", help="Requests of this path alone. Repeatable.")
@click.option("--uri-regex", default="", metavar="REGEX", help="Requests whose path matches.")
@click.option(
    "--for",
    "for_ns",
    type=DURATION,
    default="10s",
    show_default=True,
    metavar="D",
    help="For so many seconds on end; of requests, so many of that and the 30 before.",
)
@click.option(
    "--then",
    "commands",
    multiple=True,
    metavar="PROFILER",
    help="What to begin: oncpu, offcpu, network. Repeatable.  [default: network for HTTP, else oncpu]",
)
@click.option("--pid", "pids", type=int, multiple=True, metavar="PID", help="Watch this process. Repeatable.")
@click.option("--match", metavar="REGEX", help="Watch processes whose name or command line matches, new ones too.")
@click.option(
    "--profile-for",
    "execute_ns",
    type=DURATION,
    default=_PROFILE_FOR,
    metavar="D",
    help="How long what was begun profiles.  [default: 30s]",
)
@click.option(
    "--silence",
    "silence_ns",
    type=DURATION,
    metavar="D",
    help="For how long it is not begun again for the same process.  [default: as configured, 20m]",
)
@click.option(
    "--duration",
    "duration_ns",
    type=DURATION,
    default=0,
    metavar="D",
    help="How long to watch; until Ctrl-C by default, or until the processes of --pid have exited.",
)
@click.option("--json", "as_json", is_flag=True, help="Print lines of JSON, as in a pipe.")
@config_options
@pass_invocation
def watch(invocation: Invocation, /, **options: Any) -> None:
    """Watch processes, and profile one when it does too much.

    On a terminal it shows values against thresholds; in a pipe they are lines of JSON. Of several thresholds each
    suffices. What it begins is kept where the agent keeps its results, by default in ./rover-data, with the causes.

    \b
    Examples:
      rover watch --cpu 80                                        any process of the host
      rover watch --cpu 40 --for 5s --pid 4711
      rover watch --threads 200 --then offcpu --match java
      rover watch --http-errors 10 --uri /checkout --match nginx
      rover watch --http-time 500ms --uri-regex '^/api/' --then network --then oncpu --match shop
    """  # fmt: skip
    from rover_continuous.settings import ContinuousSettings, TriggerSettings
    from rover_continuous.source import ContinuousSource
    from rover_continuous.views import make_view

    _check(options)
    invocation.overrides.setdefault("logger.level", "WARNING")  # people look at the values, not at the agent at work
    plugins, settings = invocation.load()
    thresholds = _by_profiler(plugins.profile_commands(), options["commands"], _thresholds(options))
    keys = frozenset(map(_key, options["pids"]))
    _require(plugins.profile_commands(), thresholds)
    policy = Policy("", thresholds, _selection(keys, options["match"]))
    own = settings.section(ContinuousSettings)
    own = own.model_copy(update={"check_interval": own.fetch_interval})  # live
    silence_ns = options["silence_ns"]
    if silence_ns is None:
        silence_ns = settings.section(TriggerSettings).silence_duration
    trigger = TriggerSettings(execute_duration=options["execute_ns"], silence_duration=silence_ns)
    view = make_view(f" -c {invocation.config}" if invocation.config else "", options["as_json"])
    audience = _Onlooker(view, keys if options["match"] is None else ())
    try:
        source = ContinuousSource(own, trigger, [policy], audience=audience)
        outcome = run_agent(plugins, settings, [source], options["duration_ns"])
    finally:
        view.close()
    for line in [*audience.said, *outcome.results]:
        click.echo(line, err=True)


def _check(options: dict[str, Any]) -> None:
    if all(options[name] is None for name in _VALUES):
        remedy = "Say when, for example --cpu 80; `rover watch --help` has all"
        raise UsageError("there is nothing to watch for", remedy=remedy)
    if options["uris"] and options["uri_regex"]:
        raise UsageError("--uri contradicts --uri-regex", remedy="leave one of them out")
    of_requests = options["http_errors"] is not None or options["http_time"] is not None
    if (options["uris"] or options["uri_regex"]) and not of_requests:
        raise UsageError("--uri is about requests", remedy="Add --http-errors or --http-time")
    for path in options["uris"]:
        if not path.startswith("/"):
            remedy = f"Say /{path}, or --uri-regex for a part of one"
            raise UsageError(f"--uri {path!r} is never asked for", why="a path begins with /", remedy=remedy)
    if options["for_ns"] < 1_000_000_000:
        raise UsageError("--for is at least a second")
    for name in ("cpu", "http_errors"):
        if (options[name] or 0) > 100:
            option = f"--{name.replace('_', '-')}"
            why = "100 is all processors of the host" if name == "cpu" else "100 is every request"
            raise UsageError(f"{option} {options[name]:g} is never reached", why=why)


def _thresholds(options: dict[str, Any]) -> tuple[Threshold, ...]:
    from rover_continuous.settings import uris_of
    from rover_core.patterns import compile_pattern

    seconds = options["for_ns"] // 1_000_000_000
    if options["uri_regex"]:
        compile_pattern(options["uri_regex"], "--uri-regex")
    given = {monitor: options[name] for name, monitor in _VALUES.items() if options[name] is not None}
    if Monitor.HTTP_AVG_RESPONSE_TIME in given:
        given[Monitor.HTTP_AVG_RESPONSE_TIME] /= 1e6
    uris: tuple[Uri, ...] = uris_of(options["uris"], options["uri_regex"])
    try:
        return tuple(_threshold(monitor, value, seconds, uris) for monitor, value in given.items())
    except ValueError as error:
        raise UsageError("this cannot be watched for", why=str(error)) from None


def _threshold(monitor: Monitor, value: float, seconds: int, uris: tuple[Uri, ...]) -> Threshold:
    later_s = _LATER_S if monitor.of_requests else 0
    return Threshold(monitor, value, max(seconds, min(seconds + later_s, LONGEST_PERIOD_S)), seconds, uris)


def _by_profiler(
    available: Iterable[ProfileCommand], commands: Sequence[str], thresholds: Sequence[Threshold]
) -> dict[str, tuple[Threshold, ...]]:
    """What each of these commands' profilers is begun for; if there are none, each threshold has its own."""
    known = {each.command: each.profiler for each in available}
    wanted: dict[str, tuple[Threshold, ...]] = dict.fromkeys(commands, tuple(thresholds))
    for threshold in () if commands else thresholds:
        command = "network" if threshold.monitor.of_requests else "oncpu"
        wanted[command] = (*wanted.get(command, ()), threshold)
    for command in wanted:
        if command not in known:
            installed = f"installed are: {', '.join(known)}" if known else "none is installed"
            raise UsageError(f"there is no profiler {command!r}", why=installed, remedy="`rover plugins` says more")
    return {known[command]: begun_for for command, begun_for in wanted.items()}


def _require(available: Iterable[ProfileCommand], profilers: Collection[str]) -> None:
    """Raise RoverError for what could not be begun when the time has come."""
    for each in available:
        if each.profiler in profilers:
            each.require()


def _selection(keys: Collection[ProcessKey], match: str | None) -> Callable[[Process], bool]:
    """Which processes: all but this one, unless some were named."""
    from rover_core.patterns import compile_pattern

    pattern = compile_pattern(match, "--match") if match is not None else None
    everything, this = not keys and pattern is None, os.getpid()

    def selects(process: Process) -> bool:
        if process.pid == this:
            return False
        text = (process.name, " ".join(process.cmdline))
        return everything or process.key in keys or (pattern is not None and any(map(pattern.matches, text)))

    return selects


class _Onlooker:
    """A view, and as Ctrl-C once none of these processes is left. Of no processes that never happens."""

    def __init__(self, view: View, keys: Collection[ProcessKey]) -> None:
        self._view = view
        self._keys = keys
        self._exited = self._loading = False

    @property
    def said(self) -> list[str]:
        """What a person has to know at the end."""
        said = ["What was watched has exited."] if self._exited else []
        if self._loading:
            said.append("No requests were watched: the network program was still being loaded when this ended.")
        return said

    def checked(self, looks: Sequence[Look]) -> None:
        from rover_core.procfs import process_key

        self._view.checked(looks)
        if self._keys and not self._exited and all(process_key(key.pid) != key for key in self._keys):
            self._exited = True
            signal.raise_signal(signal.SIGINT)

    def begun(self, trigger: Trigger, task_id: str) -> None:
        self._view.begun(trigger, task_id)

    def requests(self, state: Requests) -> None:
        self._loading = state == "loading"
        self._view.requests(state)


def _key(pid: int) -> ProcessKey:
    from rover_core.procfs import process_key

    key = process_key(pid)
    if key is None:
        raise UsageError(f"there is no process {pid}", remedy="`rover processes` lists what runs")
    return key
