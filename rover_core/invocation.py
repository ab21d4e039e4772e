"""What a command line comes to: plugins and settings. Without click, which the agent does not keep in memory."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # these cost 0.2 s to import, and `rover --help` needs none of them
    from rover_core.api import Model
    from rover_core.config.loading import LoadedSettings
    from rover_core.plugins import PluginInfo, PluginManager


@dataclass(slots=True)
class Invocation:
    """What was asked for on the command line, wherever on it: `rover -c FILE run` and `rover run -c FILE` are one.

    overrides: dotted path to value, from `--set` and from options that stand for a setting.
    """

    config: Path | None = None
    overrides: dict[str, Any] = field(default_factory=dict)

    def load(self) -> "tuple[PluginManager, LoadedSettings]":
        """Plugins and effective settings; logging is configured, and what failed to load is logged.

        Raises ConfigurationError (a UsageError).
        """
        from rover_core.logs import configure_logs

        plugins, settings = self.load_quietly()
        from rover_core.config.sections import LoggerSettings

        logger = settings.section(LoggerSettings)
        configure_logs(logger.level, logger.format)
        _log_failures(plugins, settings)
        return plugins, settings

    def load_quietly(self) -> "tuple[PluginManager, LoadedSettings]":
        """As `load`, for commands that say themselves what failed."""
        from rover_core.config.loading import disabled_plugins, load_settings
        from rover_core.plugins import PluginManager

        plugins = PluginManager.discover(disabled_plugins(file=self.config, overrides=self.overrides))
        sections = plugins.sections()
        unloaded = plugins.unloaded
        return plugins, load_settings(sections, file=self.config, overrides=self.overrides, unloaded=unloaded)

    def section(self, path: str, model: "type[Model]") -> "Model":
        """One section's settings alone, for a plugin's own command: no plugin is loaded, other sections are not read.

        Raises ConfigurationError (a UsageError).
        """
        from rover_core.api import SettingsSection
        from rover_core.config.loading import load_settings

        section = SettingsSection(path, model)
        unread = ("other plugins",)
        return load_settings([section], file=self.config, overrides=self.overrides, unloaded=unread).section(model)


def _log_failures(plugins: "PluginManager", settings: "LoadedSettings") -> None:
    """Those there were, and those to come."""
    from rover_core.logs import get_logger

    log = get_logger("start")

    def failed(plugin: "PluginInfo") -> None:
        log.warning("plugin failed", plugin=plugin.name, distribution=plugin.distribution, reason=plugin.reason)

    for plugin in plugins.plugins:
        if plugin.state == "failed":
            failed(plugin)
    plugins.on_failure = failed
    for warning in settings.warnings:
        log.warning("suspicious setting", reason=warning)
