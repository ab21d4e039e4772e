"""The hooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rover_continuous.settings import ContinuousSettings, TriggerSettings
from rover_core.api import PolicySource, Settings, SettingsSection, TaskSource, hookimpl
from rover_core.config.sections import ProfilingSettings

if TYPE_CHECKING:
    import click

SECTION = "profiling.continuous"


@hookimpl
def rover_settings() -> Sequence[SettingsSection]:
    return [SettingsSection(SECTION, ContinuousSettings), SettingsSection(f"{SECTION}.trigger", TriggerSettings)]


@hookimpl
def rover_task_sources(settings: Settings, policies: Callable[[], Sequence[PolicySource]]) -> Sequence[TaskSource]:
    """None where nobody has a policy, so that an agent without any stands alone as it did."""
    if not settings.section(ProfilingSettings).active:
        return []
    own, sources = settings.section(ContinuousSettings), policies()
    if not own.policies and not sources:
        return []
    from rover_continuous.source import ContinuousSource

    trigger = settings.section(TriggerSettings)
    return [ContinuousSource(own, trigger, [each.policy for each in own.policies], sources)]


@hookimpl
def rover_commands(cli: click.Group) -> None:
    from rover_continuous.command import watch

    cli.add_command(watch)
