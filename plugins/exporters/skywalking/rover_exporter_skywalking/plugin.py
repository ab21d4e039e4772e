"""The hooks."""

from collections.abc import Hashable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from rover_core.api import (
    Check,
    Diagnostic,
    Exporter,
    PolicySource,
    Settings,
    SettingsSection,
    TaskSource,
    hookimpl,
)
from rover_exporter_skywalking.settings import SECTIONS, is_configured

if TYPE_CHECKING:
    from rover_exporter_skywalking.backend import Backend


@hookimpl
def rover_settings() -> Sequence[SettingsSection]:
    return SECTIONS


@hookimpl
def rover_exporters(settings: Settings) -> Sequence[Exporter]:
    return [_backend(cast(Hashable, settings)).exporter] if is_configured(settings) else []


@hookimpl
def rover_task_sources(settings: Settings) -> Sequence[TaskSource]:
    return [_backend(cast(Hashable, settings)).source] if is_configured(settings) else []


@hookimpl
def rover_policy_sources(settings: Settings) -> Sequence[PolicySource]:
    return [_backend(cast(Hashable, settings)).policies] if is_configured(settings) else []


@hookimpl
def rover_checks() -> Sequence[Check]:
    return [Check("backend", "Try the connection to the SkyWalking backend, too.", _check)]


def _check(settings: Settings) -> Iterable[Diagnostic]:
    from rover_exporter_skywalking.health import check_backend

    return check_backend(settings)


@lru_cache(maxsize=1)  # by identity: settings are read once
def _backend(settings: Hashable) -> "Backend":
    """One for all hooks: they are called one after the other, with the same settings."""
    from rover_exporter_skywalking.backend import Backend

    return Backend(cast(Settings, settings))
