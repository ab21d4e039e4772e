"""The on-CPU plugin's hooks."""

from collections.abc import Iterable, Mapping
from typing import Any

from rover_core.api import Diagnostic, ProfileCommand, Profiler, Settings, SettingsSection, hookimpl
from rover_oncpu.settings import OnCpuSettings


@hookimpl
def rover_settings() -> list[SettingsSection]:
    return [SettingsSection("profiling.task.on_cpu", OnCpuSettings)]


@hookimpl
def rover_profilers(settings: Settings) -> list[Profiler]:
    from rover_oncpu.profiler import create

    return [create(settings.section(OnCpuSettings).dump_period)]


@hookimpl
def rover_profile_commands() -> list[ProfileCommand]:
    return [
        ProfileCommand(
            "ON_CPU",
            "oncpu",
            "Where processes burn CPU time: their stacks, sampled on every processor.",
            OnCpuSettings().dump_period,
            _task_settings,
        )
    ]


def _task_settings(options: Mapping[str, Any]) -> Mapping[str, Any]:
    from rover_oncpu.period import check_period

    period_ns = options.get("period_ns")
    return {} if period_ns is None else {"period": check_period(period_ns)}


@hookimpl
def rover_diagnostics(settings: Settings) -> Iterable[Diagnostic]:
    from rover_bpf.plans import diagnose
    from rover_oncpu.profiler import try_out

    return [diagnose("on-CPU profiling", lambda: try_out(settings.section(OnCpuSettings).dump_period))]
