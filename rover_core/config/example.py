"""A configuration file with every setting: its default, its environment variable, and what it is for."""

import inspect
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from rover_core.api import SettingsSection
from rover_core.config.loading import load_settings
from rover_core.config.sections import CORE_SECTIONS
from rover_core.config.tree import child_model, compose, item_model, variable

_WIDTH = 110


def example(sections: Iterable[SettingsSection]) -> str:
    """The file, in YAML: read back, it says nothing but the defaults. sections: of the plugins."""
    known = tuple(sections)
    root = compose((*CORE_SECTIONS, *known), BaseModel)
    tree = load_settings(known, environ={}).tree()
    return "\n".join(_group(root, tree, ())) + "\n"


def _group(model: type[BaseModel], values: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    indent = "  " * len(path)
    for name, info in model.model_fields.items():
        child = child_model(info.annotation)
        if child is None:
            yield from (indent + line for line in _setting(info, values[name], (*path, name)))
            continue
        if not path:
            yield ""
        yield from (indent + line for line in _comment(_purpose(child)))
        yield f"{indent}{name}:"
        yield from _group(child, values[name], (*path, name))


def _setting(info: FieldInfo, value: Any, path: tuple[str, ...]) -> Iterator[str]:
    yield from _comment(info.description or "")
    item = item_model(info.annotation)
    if item is not None:
        yield f"{path[-1]}: []"
        yield from _item(item, path)
    elif value is None:
        yield f"# {path[-1]}: ${{{variable(path, info)}:}}"
    else:
        yield f"{path[-1]}: {_placeholder(variable(path, info), value)}"


def _item(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[str]:
    """What an entry of a list looks like, as a comment: by default there is none."""
    defaults = {name: info.get_default(call_default_factory=True) for name, info in model.model_fields.items()}
    for index, (name, info) in enumerate(model.model_fields.items()):
        mark = "- " if index == 0 else "  "
        if info.examples:  # where no default says what it looks like
            lines = yaml.safe_dump({name: info.examples[0]}, sort_keys=False).splitlines()
            yield from (f"# {mark if at == 0 else '  '}{line}" for at, line in enumerate(lines))
        else:
            yield f"# {mark}{name}: {_placeholder(variable((*path, name), info), defaults[name])}"


def _placeholder(name: str, value: Any) -> str:
    text = f"${{{name}:{_text(value)}}}"
    quoted: str = yaml.safe_dump(text, width=float("inf"), allow_unicode=True)
    return quoted.removesuffix("\n").removesuffix("\n...")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _purpose(model: type[BaseModel]) -> str:
    """What a section's authors wrote of it: several plugins may share one."""
    ours = model.__mro__[: model.__mro__.index(BaseModel)]
    words = (inspect.cleandoc(each.__dict__.get("__doc__") or "") for each in ours)
    return "\n\n".join(text for text in words if text)


def _comment(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n") if text else ():
        yield from (f"# {line}" for line in textwrap.wrap(paragraph, _WIDTH))
