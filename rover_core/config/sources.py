"""Where settings come from, each as one pydantic-settings source: command line, environment, file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from rover_core.config.contract import has_setting, names_below
from rover_core.config.problems import Origin, Path, dotted, unknown_key
from rover_core.config.tree import child_model, item_model, item_variables, leaves, variable
from rover_core.config.yamlfile import Fields, Items, Scalar, Value, read_yaml


@dataclass(slots=True)
class Layer:
    """What one source says.

    unknown: keys that nobody mounted; foreign: dotted paths of those among the Go agent's; problems: other things
    that are wrong; warnings: what is merely suspicious.
    """

    data: dict[str, Any] = field(default_factory=dict)
    origins: dict[Path, Origin] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def put(self, path: tuple[str, ...], value: Any, origin: Origin) -> None:
        data = self.data
        for name in path[:-1]:
            data = data.setdefault(name, {})
        data[path[-1]] = value
        self.origins[path] = origin


class LayerSource(PydanticBaseSettingsSource):
    """A layer as pydantic-settings wants it: the whole nested map at once."""

    def __init__(self, settings: type[BaseSettings], layer: Layer) -> None:
        super().__init__(settings)
        self._data = layer.data

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._data.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._data


def skeleton(root: type[BaseModel]) -> Layer:
    """The lowest layer: every section is there, empty, so that each model fills in its own defaults."""
    return Layer(data=_empty(root))


def _empty(model: type[BaseModel]) -> dict[str, Any]:
    nested = {name: child_model(info.annotation) for name, info in model.model_fields.items() if info.is_required()}
    return {name: _empty(child) for name, child in nested.items() if child is not None}


def from_environment(root: type[BaseModel], environ: Mapping[str, str]) -> Layer:
    """Variables by the names of the fields. An empty variable counts as not set, as in `${NAME:default}`."""
    layer = Layer()
    known = {variable(path, info): path for path, info in leaves(root)}
    for name, path in known.items():
        if value := environ.get(name):
            layer.put(path, value, _from_environment(name))
    known |= {name: path for path, info in leaves(root) for name in item_variables(info)}
    for name in environ:
        if name.startswith("ROVER_") and name not in known:
            layer.warnings += _misspelt(name, known)
    return layer


def from_item_variables(root: type[BaseModel], environ: Mapping[str, str]) -> Layer:
    """Lists of groups whose fields name variables: those that are set make up a list of one item.

    Below the file, whose own list says in `${NAME:default}` where it wants the variables.
    """
    layer = Layer()
    for path, info in leaves(root):
        item = {field: (name, environ[name]) for name, field in item_variables(info).items() if environ.get(name)}
        if item:
            names = ", ".join(name for name, _ in item.values())
            layer.put(path, [{field: value for field, (_, value) in item.items()}], _from_environment(names))
            layer.origins |= {(*path, 0, field): _from_environment(name) for field, (name, _) in item.items()}
    return layer


def _from_environment(name: str) -> Origin:
    return Origin(f"environment {name}", f"environment {name}")


def _misspelt(name: str, known: Iterable[str]) -> list[str]:
    """Only near misses: Kubernetes makes ROVER_SERVICE_HOST and its like up for a service called rover."""
    near = get_close_matches(name, known, n=1, cutoff=0.9)
    return [f"environment {name}: no setting has this variable; did you mean {near[0]}?"] if near else []


def from_overrides(root: type[BaseModel], overrides: Mapping[str, Any]) -> Layer:
    """Dotted paths from the command line, in any case. Values are text, or what Python code made of an option."""
    layer = Layer()
    known = {dotted(path).lower(): path for path, _ in leaves(root)}
    for key, value in overrides.items():
        path = known.get(key.strip().lower())
        if path is not None:
            layer.put(path, value, Origin("command line", "command line"))
        elif any(leaf.startswith(f"{key.strip().lower()}.") for leaf in known):
            layer.problems.append(f"command line: {key}: this is a group of settings; set one of its keys")
        else:
            layer.unknown.append(_unknown_override(root, key, list(known)))
    return layer


def _unknown_override(root: type[BaseModel], key: str, known: list[str]) -> str:
    model: type[BaseModel] | None = root
    *parents, _ = path = tuple(key.split("."))
    for name in parents:
        info = model.model_fields.get(name.lower()) if model else None
        model = child_model(info.annotation) if info else None
    return unknown_key("command line", path, model.model_fields if model else root.model_fields, known)


def from_file(root: type[BaseModel], file: FilePath, environ: Mapping[str, str]) -> Layer:
    """The YAML file. Raises ConfigurationError if it cannot be read at all."""
    reader = _FileReader(root, file)
    layer = reader.layer
    layer.data = reader.group(root, read_yaml(file, environ), ())
    if layer.foreign:
        keys = ", ".join(layer.foreign)
        layer.warnings.append(f"{file}: ignored, since no plugin installed here uses them: {keys}")
    return layer


class _FileReader:
    def __init__(self, root: type[BaseModel], file: FilePath) -> None:
        self.layer = Layer()
        self._file = file
        self._leaves = [dotted(path) for path, _ in leaves(root)]

    def group(self, model: type[BaseModel], fields: Fields, path: Path) -> dict[str, Any]:
        """The known keys of a map, under the names of the model; the others are noted as unknown."""
        names = {name.lower(): name for name in model.model_fields}
        data = {}
        for key, value in fields.values.items():
            name = names.get(key.lower())
            if name is None:
                self._unmounted(value, (*path, key), names.values())
            elif (plain := self._field(model.model_fields[name], value, (*path, name))) is not _NOTHING:
                data[name] = plain
        return data

    def _unmounted(self, value: Value, path: Path, siblings: Iterable[str]) -> None:
        """Tell what only the Go agent knows from what nobody knows, down to the last key."""
        dotted_key = "." in str(path[-1])
        below = set() if dotted_key else names_below(dotted(path))
        if (has_setting(dotted(path)) and not dotted_key) or (below and not isinstance(value, Fields)):
            self.layer.foreign.append(dotted(path))
        elif below and isinstance(value, Fields):
            for key, each in value.values.items():
                self._unmounted(each, (*path, key), ())
        else:
            known = {*siblings, *names_below(dotted(path[:-1]))}
            self.layer.unknown.append(unknown_key(f"{self._file} line {value.line}", path, known, self._leaves))

    def _field(self, info: FieldInfo, value: Value, path: Path) -> Any:
        self.layer.origins[path] = self._origin(value)
        group = child_model(info.annotation)
        if group is None:
            return self._plain(value, path, item_model(info.annotation))
        if isinstance(value, Fields):
            return self.group(group, value, path)
        if not (isinstance(value, Scalar) and value.text is None):  # `profiling:` with nothing below it is fine
            self.layer.problems.append(f"{self._origin(value).place}: {dotted(path)}: this must be a map of settings")
        return _NOTHING

    def _plain(self, value: Value, path: Path, item: type[BaseModel] | None) -> Any:
        self.layer.origins[path] = self._origin(value)
        if isinstance(value, Scalar):
            return value.text
        if isinstance(value, Items):
            return [self._item(each, (*path, index), item) for index, each in enumerate(value.values)]
        return {key: self._plain(each, (*path, key), None) for key, each in value.values.items()}

    def _item(self, value: Value, path: Path, item: type[BaseModel] | None) -> Any:
        if item is None or not isinstance(value, Fields):
            return self._plain(value, path, None)
        self.layer.origins[path] = self._origin(value)
        return self.group(item, value, path)

    def _origin(self, value: Value) -> Origin:
        label, place = f"{self._file.name}:{value.line}", f"{self._file} line {value.line}"
        if isinstance(value, Scalar) and value.variable:
            return Origin(f"environment {value.variable} ({label})", f"{place}, environment {value.variable}")
        return Origin(label, place)


_NOTHING = object()
