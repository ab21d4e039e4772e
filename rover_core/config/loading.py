"""From sections, file, environment and command line to the effective settings."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from rover_core.api import Model, SettingsSection
from rover_core.config.problems import ConfigurationError, Origin, Path, dotted, invalid_value
from rover_core.config.sections import CORE_SECTIONS, PluginsSettings
from rover_core.config.sources import (
    Layer,
    LayerSource,
    from_environment,
    from_file,
    from_item_variables,
    from_overrides,
    skeleton,
)
from rover_core.config.tree import compose, leaves

_DEFAULT = Origin("default", "default")


class LoadedSettings:
    """The effective settings (`rover_core.api.Settings`) and where each came from.

    warnings: near misses among environment variables; the Go agent's keys that no plugin here has; keys that nobody
    knows, where a plugin that did not load may be the one that would.
    """

    def __init__(
        self,
        root: BaseModel,
        places: Mapping[type[BaseModel], str],
        origins: Mapping[Path, Origin],
        warnings: Sequence[str],
    ) -> None:
        self._root = root
        self._places = places
        self._origins = origins
        self.warnings = tuple(warnings)

    def section(self, model: type[Model]) -> Model:
        """The section that was mounted with this model. KeyError if no plugin mounted it."""
        section: Any = self._root
        for name in self._places[model].split("."):
            section = getattr(section, name)
        assert isinstance(section, model)
        return section

    def tree(self) -> dict[str, Any]:
        """Everything as nested maps of plain values, durations and sizes as people write them."""
        return self._root.model_dump(mode="json")

    def origins(self) -> dict[str, str]:
        """For every setting's dotted path: `default`, `rover.yaml:7`, `environment NAME` or `command line`."""
        return {dotted(path): self._origins.get(path, _DEFAULT).label for path, _ in leaves(type(self._root))}


def load_settings(
    sections: Iterable[SettingsSection],
    *,
    file: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
    unloaded: Sequence[str] = (),
) -> LoadedSettings:
    """The settings of the core and of these sections: command line before environment before file before default.

    overrides: dotted path to value. unloaded: names of plugins whose sections are not known because they are
    disabled or failed; with any, unknown keys are warnings instead of errors.
    Raises ConfigurationError (a UsageError) with every problem of every source.
    """
    mounted = (*CORE_SECTIONS, *sections)
    layers: list[Layer] = []
    root = compose(mounted, _settings_class(layers))
    layers += _layers(root, file, overrides, environ)
    unknown = [problem for layer in layers for problem in layer.unknown]
    values = _validate(root, layers, [] if unloaded else unknown)
    hint = f" (or it belongs to a plugin that is not loaded: {', '.join(unloaded)})"
    places = {section.model: section.path for section in mounted}
    warnings = [warning for layer in layers for warning in layer.warnings]
    return LoadedSettings(values, places, _merge_origins(layers), warnings + [text + hint for text in unknown])


def disabled_plugins(
    *,
    file: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> tuple[str, ...]:
    """The setting `plugins.disabled` alone: it is needed before the plugins' sections can be known.

    Raises ConfigurationError if the file cannot be read or this one setting is wrong.
    """
    layers: list[Layer] = []
    root = compose([SettingsSection("plugins", PluginsSettings)], _settings_class(layers))
    layers += _layers(root, file, overrides, environ)
    settings = LoadedSettings(_validate(root, layers, []), {PluginsSettings: "plugins"}, {}, ())
    return settings.section(PluginsSettings).disabled


def _layers(
    root: type[BaseModel],
    file: str | os.PathLike[str] | None,
    overrides: Mapping[str, Any] | None,
    environ: Mapping[str, str],
) -> list[Layer]:
    """Highest precedence first."""
    layers = [from_overrides(root, overrides or {}), from_environment(root, environ)]
    if file is not None:
        layers.append(from_file(root, FilePath(file), environ))
    return [*layers, from_item_variables(root, environ), skeleton(root)]


def _validate(root: type[BaseModel], layers: Sequence[Layer], unknown: Sequence[str]) -> BaseModel:
    problems = [*unknown, *(problem for layer in layers for problem in layer.problems)]
    try:
        values = root()
    except ValidationError as error:
        origins = _merge_origins(layers)
        problems += [invalid_value(entry, origins) for entry in error.errors(include_url=False)]
    if problems:
        raise ConfigurationError(problems)
    return values


def _settings_class(layers: Sequence[Layer]) -> type[BaseSettings]:
    class RoverSettings(BaseSettings):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *_: object, **__: object
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return tuple(LayerSource(settings_cls, layer) for layer in layers)

    return RoverSettings


def _merge_origins(layers: Sequence[Layer]) -> dict[Path, Origin]:
    """The winning origin of each path: a higher layer's value hides whatever a lower one says at or below it.

    Maps do not: they are merged.
    """
    merged: dict[Path, Origin] = {}
    hidden: set[Path] = set()
    for layer in layers:
        seen = {
            path: origin
            for path, origin in layer.origins.items()
            if not any(path[:end] in hidden for end in range(1, len(path) + 1))
        }
        merged = seen | merged
        hidden |= {path for path in seen if not _is_map(layer.data, path)}
    return merged


def _is_map(data: Any, path: Path) -> bool:
    for part in path:
        data = data.get(part) if isinstance(data, dict) else None
    return isinstance(data, dict)
