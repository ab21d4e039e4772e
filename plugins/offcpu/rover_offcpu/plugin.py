"""The off-CPU plugin's hooks."""

from collections.abc import Iterable

from rover_bpf.requiring import require_host
from rover_bpf.unwinding import UNWIND_OPTION
from rover_core.api import Diagnostic, ProfileCommand, ProfileOption, Profiler, Settings, SettingsSection, hookimpl
from rover_offcpu.settings import STATES, OffCpuSettings, check_min_block, check_states


@hookimpl
def rover_settings() -> list[SettingsSection]:
    return [SettingsSection("profiling.task.off_cpu", OffCpuSettings)]


@hookimpl
def rover_profilers(settings: Settings) -> list[Profiler]:
    from rover_offcpu.profiler import create

    return [create(settings.section(OffCpuSettings))]


@hookimpl
def rover_profile_commands() -> list[ProfileCommand]:
    return [
        ProfileCommand(
            "OFF_CPU",
            "offcpu",
            "Where threads wait, how often and how long. Every switch away from a processor counts.",
            (
                ProfileOption("min_block", "DURATION", "Leave out shorter waits.  [default: 1us]", check_min_block),
                ProfileOption("state", "STATES", f"Only these waits: {', '.join(STATES)}.", check_states),
                UNWIND_OPTION,
            ),
            require=require_host,
        )
    ]


@hookimpl
def rover_diagnostics(settings: Settings) -> Iterable[Diagnostic]:
    from rover_bpf.plans import diagnose
    from rover_offcpu.profiler import try_out

    return [diagnose("off-CPU profiling", lambda: try_out(settings.section(OffCpuSettings)))]
