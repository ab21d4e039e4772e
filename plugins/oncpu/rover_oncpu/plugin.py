"""The on-CPU plugin's hooks."""

from collections.abc import Iterable

from rover_bpf.requiring import require_host
from rover_bpf.unwinding import UNWIND_OPTION
from rover_core.api import Diagnostic, ProfileCommand, ProfileOption, Profiler, Settings, SettingsSection, hookimpl
from rover_core.config.types import format_duration
from rover_oncpu.settings import OnCpuSettings


@hookimpl
def rover_settings() -> list[SettingsSection]:
    return [SettingsSection("profiling.task.on_cpu", OnCpuSettings)]


@hookimpl
def rover_profilers(settings: Settings) -> list[Profiler]:
    from rover_oncpu.profiler import create

    return [create(settings.section(OnCpuSettings))]


@hookimpl
def rover_profile_commands() -> list[ProfileCommand]:
    from rover_oncpu.period import check_period

    default = format_duration(OnCpuSettings().dump_period)
    text = f"CPU time between two samples of a processor.  [default: {default}]"
    return [
        ProfileCommand(
            "ON_CPU",
            "oncpu",
            "Where processes burn CPU time. Their stacks are sampled on every processor.",
            (ProfileOption("period", "DURATION", text, check_period), UNWIND_OPTION),
            require=require_host,
        )
    ]


@hookimpl
def rover_diagnostics(settings: Settings) -> Iterable[Diagnostic]:
    from rover_bpf.plans import diagnose
    from rover_oncpu.profiler import try_out

    return [diagnose("on-CPU profiling", lambda: try_out(settings.section(OnCpuSettings)))]
