"""Finds, checks and calls plugins, so that one that is broken is reported and the others go on."""

import os
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Self

import pluggy

from rover_core import hookspecs
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
)
from rover_core.errors import RoverError
from rover_core.model import Process

if TYPE_CHECKING:
    import click

GROUP = "rover.plugins"
DISABLED_VARIABLE = "ROVER_DISABLED_PLUGINS"
_HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("rover_"))


class PluginState(StrEnum):
    LOADED = "loaded"
    FAILED = "failed"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """What `rover plugins` shows. name: of the entry point; hooks: those it implements; reason: why it failed."""

    name: str
    distribution: str
    version: str
    hooks: tuple[str, ...]
    state: PluginState
    reason: str = ""


@dataclass(slots=True)
class _Plugin:
    name: str
    distribution: str
    version: str
    module: object = None
    hooks: tuple[str, ...] = ()
    state: PluginState = PluginState.LOADED
    reason: str = ""

    def fail(self, reason: str) -> None:
        self.state, self.reason = PluginState.FAILED, reason

    @property
    def info(self) -> PluginInfo:
        return PluginInfo(self.name, self.distribution, self.version, self.hooks, self.state, self.reason)


class PluginManager:
    """The plugins of one run of Rover. Constructed where it is needed, never a module global.

    Every method that calls a hook calls plugin by plugin: one that raises is marked as failed, with its reason, and
    is not called again; the rest are not disturbed.

    on_failure: told of each plugin that a hook fails in from then on.
    """

    def __init__(self) -> None:
        self.on_failure: Callable[[PluginInfo], None] = lambda plugin: None
        self._pluggy = pluggy.PluginManager("rover")
        self._pluggy.add_hookspecs(hookspecs)
        self._plugins: list[_Plugin] = []

    @classmethod
    def discover(cls, disabled: Collection[str] | None = None, environ: Mapping[str, str] = os.environ) -> Self:
        """Load what is installed in the entry point group `rover.plugins`. Never raises for a plugin's sake.

        disabled: names not to load (not even import); None takes them from ROVER_DISABLED_PLUGINS.
        """
        names = environ.get(DISABLED_VARIABLE, "").split(",") if disabled is None else disabled
        manager = cls()
        for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, _distribution(entry))):
            manager._load(entry, {name.strip() for name in names})
        return manager

    def register(self, name: str, module: object, *, distribution: str = "", version: str = "") -> None:
        """Add a plugin by hand: a module, or any object with hooks. For tests and embedding."""
        self._add(_Plugin(name, distribution, version, module))

    @property
    def plugins(self) -> list[PluginInfo]:
        """Every plugin found, whatever became of it."""
        return [plugin.info for plugin in self._plugins]

    @property
    def unloaded(self) -> list[str]:
        """Names of the plugins that are disabled or failed: their settings are not known."""
        return [plugin.name for plugin in self._plugins if plugin.state is not PluginState.LOADED]

    def sections(self) -> list[SettingsSection]:
        return self._collect("rover_settings", SettingsSection)

    def discoverers(self, settings: Settings) -> list[Discoverer]:
        return self._collect("rover_discoverers", settings=settings)

    def profilers(self, settings: Settings) -> list[Profiler]:
        return self._collect(
            "rover_profilers",
            settings=settings,
            protocols=lambda: self.protocols(settings),
            tls_libraries=lambda: self.tls_libraries(settings),
        )

    def protocols(self, settings: Settings) -> list[WireProtocol]:
        return self._collect("rover_protocols", WireProtocol, settings=settings)

    def tls_libraries(self, settings: Settings) -> list[TlsLibrary]:
        return self._collect("rover_tls_libraries", settings=settings)

    def profile_commands(self) -> list[ProfileCommand]:
        return self._collect("rover_profile_commands", ProfileCommand)

    def record_commands(self) -> list[RecordCommand]:
        return self._collect("rover_record_commands", RecordCommand)

    def exporters(self, settings: Settings) -> list[Exporter]:
        return self._collect("rover_exporters", settings=settings)

    def formats(self) -> list[Format]:
        return self._collect("rover_formats")

    def task_sources(self, settings: Settings) -> list[TaskSource]:
        return self._collect("rover_task_sources", settings=settings, policies=lambda: self.policy_sources(settings))

    def policy_sources(self, settings: Settings) -> list[PolicySource]:
        return self._collect("rover_policy_sources", settings=settings)

    def diagnostics(self, settings: Settings) -> list[Diagnostic]:
        return self._collect("rover_diagnostics", Diagnostic, settings=settings)

    def process_diagnostics(self, settings: Settings, process: Process) -> list[Diagnostic]:
        return self._collect(
            "rover_process_diagnostics",
            Diagnostic,
            settings=settings,
            process=process,
            tls_libraries=lambda: self.tls_libraries(settings),
        )

    def checks(self) -> list[Check]:
        return self._collect("rover_checks", Check, protocols=self.protocols)

    def add_commands(self, cli: "click.Group") -> None:
        """Let plugins add sub-commands to a group."""
        self._collect("rover_commands", cli=cli)

    def _load(self, entry: EntryPoint, disabled: Collection[str]) -> None:
        plugin = _Plugin(entry.name, _distribution(entry), entry.dist.version if entry.dist else "")
        first = next((known for known in self._plugins if known.name == plugin.name), None)
        if entry.name in disabled:
            plugin.state = PluginState.DISABLED
        elif first is not None:
            plugin.fail(f"the name {plugin.name} is taken by the distribution {first.distribution}")
        else:
            try:
                plugin.module = entry.load()
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a stranger's import does, go on
                plugin.fail(f"cannot be imported: {_text(error)}")
        self._add(plugin)

    def _add(self, plugin: _Plugin) -> None:
        self._plugins.append(plugin)
        if plugin.state is not PluginState.LOADED:
            return None
        try:
            self._pluggy.register(plugin.module, plugin.name)
        except pluggy.PluginValidationError as error:
            mistake = str(error).splitlines()[-1]  # the first lines repeat the plugin and the hook
        except ValueError as error:
            return plugin.fail(str(error).splitlines()[0])
        else:
            callers = self._pluggy.get_hookcallers(plugin.module) or []
            plugin.hooks = tuple(sorted(caller.name for caller in callers))
            mistake = next(_mistakes(plugin.module, plugin.hooks), "")
        if mistake:
            plugin.fail(mistake)
            self._forget(plugin)
        return None

    def _implementers(self, hook: str) -> list[_Plugin]:
        """Plugins with an implementation of the hook (not a wrapper), in the order pluggy would call them."""
        implementations = reversed(getattr(self._pluggy.hook, hook).get_hookimpls())
        order = [each.plugin for each in implementations if not (each.wrapper or each.hookwrapper)]
        loaded = [plugin for plugin in self._plugins if plugin.state is PluginState.LOADED]
        return [plugin for module in order for plugin in loaded if plugin.module is module]

    def _call(self, plugin: _Plugin, hook: str, **arguments: object) -> list[Any]:
        """Call one plugin's hook. Wrappers of the hook, whoever wrote them, run around it."""
        others = [other.module for other in self._implementers(hook) if other is not plugin]
        results: list[Any] = self._pluggy.subset_hook_caller(hook, others)(**arguments)
        return results

    def _collect(self, hook: str, kind: type = object, **arguments: object) -> list[Any]:
        """What all plugins return, in one list. kind: the class of its items, where it is not a protocol."""
        collected: list[Any] = []
        for plugin in self._implementers(hook):
            try:
                results = self._call(plugin, hook, **arguments)
                collected += [item for result in results for item in _items(result, kind)]
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin's failure is its own
                plugin.fail(f"{hook}: {_text(error)}")
                self._forget(plugin)
                self.on_failure(plugin.info)
        return collected

    def _forget(self, plugin: _Plugin) -> None:
        if self._pluggy.is_registered(plugin.module):
            self._pluggy.unregister(plugin.module)


def _distribution(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else ""


def _items(result: object, kind: type) -> Iterable[Any]:
    if not isinstance(result, Iterable) or isinstance(result, str):
        raise TypeError(f"returned {result!r}, expected a list")
    for item in result:
        if not isinstance(item, kind):
            raise TypeError(f"returned {item!r} in its list, expected a {kind.__name__}")
        yield item


def _mistakes(module: object, hooks: Sequence[str]) -> Iterator[str]:
    """What is wrong with the names of a plugin's hooks."""
    for name in hooks:
        if name not in _HOOKS:
            near = get_close_matches(name, _HOOKS, n=1)
            yield f"there is no hook {name}" + (f"; did you mean {near[0]}?" if near else "")
    for name in _HOOKS:
        if isinstance(getattr(module, name, None), types.FunctionType) and name not in hooks:
            yield f"{name} is not decorated with @hookimpl, so it would never be called"


def _text(error: BaseException) -> str:
    return str(error) if isinstance(error, RoverError) else f"{type(error).__name__}: {error}"
