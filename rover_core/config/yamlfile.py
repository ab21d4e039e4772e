"""The configuration file as a tree that remembers its lines.

Scalars stay text, whatever YAML would make of them: the field's type decides what `10`, `yes` or `1e3` mean, as it
does for the environment. A scalar of the whole form `${NAME:default}` takes the environment variable NAME if that is
set and not empty, else the text after the colon; that may be in quotes, as in the Go agent's own file
(`${ROVER_BACKEND_AUTHENTICATION:""}`).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from rover_core.config.problems import ConfigurationError

# Limits against files that are not configurations, and against aliases that multiply (the "billion laughs").
_MAX_BYTES = 1 << 20
_MAX_NODES = 20_000
_MAX_DEPTH = 40

_PLACEHOLDER = re.compile(r"\$\{([A-Z0-9_]+):(.*)\}", re.DOTALL)
_QUOTED = re.compile(r'"([^"\\]*)"')
_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp", "seq", "map")}
_NULL = "tag:yaml.org,2002:null"


@dataclass(frozen=True, slots=True)
class Scalar:
    """text is None for null; variable: the environment variable it was taken from, if it was."""

    line: int
    text: str | None
    variable: str | None = None


@dataclass(frozen=True, slots=True)
class Items:
    line: int
    values: "tuple[Value, ...]"


@dataclass(frozen=True, slots=True)
class Fields:
    """line: of the key that holds the map (1 for the root); each value's own line is its key's."""

    line: int
    values: "dict[str, Value]"


Value = Scalar | Items | Fields


def read_yaml(file: Path, environ: Mapping[str, str]) -> Fields:
    """Read a file. Raises ConfigurationError with one clear sentence if it is not a map of settings in YAML."""
    root = _compose(file, _read_text(file))
    if root is None or root.tag == _NULL:
        return Fields(1, {})
    if not isinstance(root, yaml.MappingNode):
        raise ConfigurationError([f"{file}: holds {_KINDS[type(root)]}, not a map of settings"])
    value = _Converter(file, environ).convert(root, 1, 0)
    assert isinstance(value, Fields)
    return value


_KINDS: dict[type[yaml.Node], str] = {yaml.ScalarNode: "a single value", yaml.SequenceNode: "a list"}


def _read_text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise ConfigurationError([f"{file}: is larger than 1 MiB; this is not a configuration of Rover"])
        return data.decode()
    except FileNotFoundError:
        raise ConfigurationError([f"{file}: there is no such file"]) from None
    except IsADirectoryError:
        raise ConfigurationError([f"{file}: is a directory, not a file"]) from None
    except UnicodeDecodeError:
        raise ConfigurationError([f"{file}: is not text in UTF-8; this is not a YAML file"]) from None
    except OSError as error:
        raise ConfigurationError([f"{file}: cannot be read: {error.strerror}"]) from error


def _compose(file: Path, text: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        place = f"{file} line {error.problem_mark.line + 1}" if error.problem_mark else str(file)
        raise ConfigurationError([f"{place}: this is not YAML: {error.problem or error.context}"]) from None
    except yaml.YAMLError as error:
        raise ConfigurationError([f"{file}: is not YAML: {' '.join(str(error).split())}"]) from None
    except RecursionError:
        raise ConfigurationError([f"{file}: is nested too deeply"]) from None


class _Converter:
    def __init__(self, file: Path, environ: Mapping[str, str]) -> None:
        self._file = file
        self._environ = environ
        self._nodes = 0

    def convert(self, node: yaml.Node, line: int, depth: int) -> Value:
        self._nodes += 1
        if self._nodes > _MAX_NODES or depth > _MAX_DEPTH:
            raise self._error(line, "too many or too deeply nested values (an alias that contains itself?)")
        if node.tag not in _TAGS:
            raise self._error(line, f"the tag {node.tag.replace('tag:yaml.org,2002:', '!!')} is not allowed here")
        if isinstance(node, yaml.MappingNode):
            return Fields(line, dict(self._entries(node, depth)))
        if isinstance(node, yaml.SequenceNode):
            return Items(line, tuple(self.convert(item, _line(item), depth + 1) for item in node.value))
        return self._scalar(node, line)

    def _entries(self, node: yaml.MappingNode, depth: int) -> Iterator[tuple[str, Value]]:
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = _line(key)
            if not isinstance(key, yaml.ScalarNode):
                raise self._error(line, "a key must be a plain word")
            name = str(key.value)
            if name.lower() in seen:
                raise self._error(line, f"the key {name} is already on line {seen[name.lower()]}")
            seen[name.lower()] = line
            yield name, self.convert(value, line, depth + 1)

    def _scalar(self, node: yaml.Node, line: int) -> Scalar:
        text = str(node.value)
        if node.tag == _NULL:
            return Scalar(line, None)
        match = _PLACEHOLDER.fullmatch(text)
        if not match:
            return Scalar(line, text)
        value = self._environ.get(match[1])
        return Scalar(line, value, match[1]) if value else Scalar(line, _unquoted(match[2]))

    def _error(self, line: int, reason: str) -> ConfigurationError:
        return ConfigurationError([f"{self._file} line {line}: {reason}"])


def _unquoted(text: str) -> str:
    quoted = _QUOTED.fullmatch(text)
    return quoted[1] if quoted else text


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
