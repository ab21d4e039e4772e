"""One settings tree out of many sections: a pydantic model whose fields nest as the dotted paths do."""

import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pydantic import BaseModel, create_model
from pydantic.fields import FieldInfo

from rover_core.api import SettingsSection
from rover_core.config.env import Env, env_name
from rover_core.config.problems import ConfigurationError


@dataclass(slots=True)
class _Branch:
    models: list[type[BaseModel]] = field(default_factory=list)
    children: "dict[str, _Branch]" = field(default_factory=dict)


def compose(sections: Iterable[SettingsSection], base: type[BaseModel]) -> type[BaseModel]:
    """A subclass of base with every section at its path.

    Several sections may share a path: what is there is then an instance of each one's model. Raises
    ConfigurationError where two claim one setting.
    """
    root = _Branch([base])
    for section in sections:
        _mount(root, section)
    return _model(root, "")


def _mount(root: _Branch, section: SettingsSection) -> None:
    branch = root
    for name in section.path.split("."):
        branch = branch.children.setdefault(name, _Branch())
    for model in branch.models:
        if model is section.model or model.model_fields.keys() & section.model.model_fields.keys():
            raise _claimed_twice(section.path, model, section.model)
    branch.models.append(section.model)


def _model(branch: _Branch, path: str) -> type[BaseModel]:
    fields: dict[str, typing.Any] = {}
    for name, child in branch.children.items():
        place = f"{path}.{name}".removeprefix(".")
        for model in branch.models:
            if name in model.model_fields:
                raise _claimed_twice(place, model, _first_model(child))
        fields[name] = (_model(child, place), ...)
    bases = tuple(branch.models) or (BaseModel,)
    return create_model(bases[0].__name__, __base__=bases, **fields) if fields or len(bases) > 1 else bases[0]


def _first_model(branch: _Branch) -> type[BaseModel]:
    return branch.models[0] if branch.models else next(_first_model(child) for child in branch.children.values())


def _claimed_twice(path: str, first: type[BaseModel], second: type[BaseModel]) -> ConfigurationError:
    names = " and ".join(f"{model.__module__}.{model.__qualname__}" for model in (first, second))
    return ConfigurationError([f"the settings at {path} are claimed twice, by {names}; disable one of these plugins"])


def child_model(annotation: object) -> type[BaseModel] | None:
    """The model of a field that is a group of settings."""
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def item_model(annotation: object) -> type[BaseModel] | None:
    """The model of the items of a field that is a list (or tuple) of groups."""
    args = typing.get_args(annotation) if typing.get_origin(annotation) in (list, tuple) else ()
    return child_model(args[0]) if args else None


def leaves(model: type[BaseModel], prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Every single setting with its path, in the order of the models."""
    for name, info in model.model_fields.items():
        nested = child_model(info.annotation)
        if nested is None:
            yield (*prefix, name), info
        else:
            yield from leaves(nested, (*prefix, name))


def variable(path: tuple[str, ...], info: FieldInfo) -> str:
    """The environment variable of a setting."""
    return _explicit(info) or env_name(".".join(path))


def item_variables(info: FieldInfo) -> dict[str, str]:
    """Of a list of groups: the variables that its items' fields name, and the fields."""
    item = item_model(info.annotation)
    fields = item.model_fields.items() if item else ()
    return {name: field for field, each in fields if (name := _explicit(each))}


def _explicit(info: FieldInfo) -> str:
    return next((mark.name for mark in info.metadata if isinstance(mark, Env)), "")
