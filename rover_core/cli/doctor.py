"""`rover doctor`: is this host fit for profiling, and what to do where it is not."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import cache

import click

from rover_core.api import Check, Diagnostic, Health, Settings
from rover_core.cli.output import print_json
from rover_core.commands import Invocation, config_options, pass_invocation
from rover_core.errors import UsageError
from rover_core.model import Process
from rover_core.plugins import PluginInfo
from rover_core.procfs import read_process

_MARKS = {Health.OK: ("ok", "green"), Health.WARNING: ("warn", "yellow"), Health.PROBLEM: ("FAIL", "red")}


@cache
def _offered() -> list[Check]:
    from rover_core.plugins import PluginManager

    return PluginManager.discover().checks()


class _Doctor(click.Command):
    """With an option for each check that a plugin offers."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        offered = [click.Option([f"--{check.name}"], is_flag=True, help=check.help) for check in _offered()]
        return [*offered, *super().get_params(ctx)]


@click.command(cls=_Doctor)
@click.option("--pid", type=int, metavar="PID", help="Say instead what can be seen of this process.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_options
@pass_invocation
def doctor(invocation: Invocation, /, pid: int | None, as_json: bool, **asked: bool) -> int:
    """Say what this host lacks for profiling, if anything, and what to do about it.

    Tries the real thing: every profiler loads and attaches its eBPF program, and lets go again. Exits with 1 if
    something that profiling cannot do without is missing.

    \b
    Examples:
      rover doctor
      rover doctor --pid 4711
      rover doctor --json | jq '.[] | select(.health != "ok")'
    """
    plugins, settings = invocation.load_quietly()
    # Asked first: a plugin may fail at that.
    diagnostics = plugins.diagnostics(settings) if pid is None else plugins.process_diagnostics(settings, _find(pid))
    checks = [check for check in plugins.checks() if asked.get(check.name.replace("-", "_"))]
    further = [finding for check in checks for finding in _run(check, settings)]
    findings = [*_plugin_findings(plugins.plugins), *diagnostics, *further]
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        _print(findings, "this host" if pid is None else f"process {pid}")
    return int(any(finding.health is Health.PROBLEM for finding in findings))


def _find(pid: int) -> Process:
    process = read_process(pid)
    if process is None:
        raise UsageError(f"there is no process {pid}", remedy="`rover processes` lists what runs")
    return process


def _run(check: Check, settings: Settings) -> Iterable[Diagnostic]:
    try:
        return list(check.run(settings))
    except Exception as error:  # a plugin's, whatever it is: the other lines still count  # noqa: BLE001
        return [Diagnostic(check.name, Health.PROBLEM, f"could not be checked: {error!r}")]


def _plugin_findings(plugins: Sequence[PluginInfo]) -> Iterator[Diagnostic]:
    if not any("rover_profilers" in plugin.hooks for plugin in plugins):
        remedy = "install one, for example: pip install 'rover-agent[oncpu]'"
        yield Diagnostic("profilers", Health.PROBLEM, "no profiler is installed", remedy)
    for plugin in plugins:
        if plugin.state == "failed":
            yield Diagnostic(
                f"plugin {plugin.name}", Health.WARNING, plugin.reason, f"reinstall {plugin.distribution}"
            )


def _print(findings: Sequence[Diagnostic], subject: str) -> None:
    width = max((len(finding.name) for finding in findings), default=0)
    for finding in findings:
        text, color = _MARKS[finding.health]
        click.echo(f"{click.style(f'{text:4}', fg=color)}  {finding.name.ljust(width)}  {finding.detail}")
        if finding.remedy:
            click.echo(f"{'':{width + 8}}-> {finding.remedy}")
    problems = sum(finding.health is Health.PROBLEM for finding in findings)
    warnings = sum(finding.health is Health.WARNING for finding in findings)
    verdict = "cannot be profiled yet" if problems else "can be profiled"
    counts = f"{_counted(problems, 'problem')}, {_counted(warnings, 'warning')}"
    click.echo(f"\n{subject.capitalize()} {verdict}: {counts}.")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
