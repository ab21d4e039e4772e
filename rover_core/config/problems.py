"""What is wrong with a configuration, in the words of the person who wrote it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from rover_core.errors import UsageError

Path = tuple[str | int, ...]
"""Keys and list indices from the root of the settings tree."""

_EXPECTED = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "dict_type": "a map",
    "model_type": "a map of settings",
}


class ConfigurationError(UsageError):
    """Everything that is wrong with a configuration. problems: one sentence each, at least one."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(sorted(problems, key=_line))
        many = f"the configuration has {len(problems)} problems:\n  " + "\n  ".join(self.problems)
        super().__init__(many if len(problems) > 1 else problems[0])


def _line(problem: str) -> int:
    match = re.search(r" line (\d+)", problem)
    return int(match[1]) if match else 0


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from. label: for `rover config show` (`rover.yaml:7`); place: for sentences."""

    label: str
    place: str


def dotted(path: Iterable[str | int]) -> str:
    """`a.b[0].c` for ("a", "b", 0, "c")."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def origin_of(path: Path, origins: Mapping[Path, Origin]) -> Origin | None:
    """The origin of a value, or of the nearest thing around it; None for a default at the root."""
    return next((origins[path[:end]] for end in range(len(path), 0, -1) if path[:end] in origins), None)


def unknown_key(place: str, path: Path, siblings: Iterable[str], leaves: Iterable[str]) -> str:
    """A sentence with the nearest known key: a neighbour's name, or the same name somewhere else in the tree."""
    key, parent, known, leaves = str(path[-1]), path[:-1], sorted(siblings), list(leaves)
    if "." in key and dotted(path).lower() in (leaf.lower() for leaf in leaves):
        *groups, last = key.split(".")
        nested = "".join(f"{group}: {{" for group in groups) + f"{last}: ..." + "}" * len(groups)
        return f"{place}: {dotted(path)}: in a file keys are nested, not dotted: {nested}"
    near = [dotted((*parent, name)) for name in get_close_matches(key.lower(), known, n=1)]
    near = near or [leaf for leaf in leaves if leaf.rsplit(".", 1)[-1] == key.lower()][:1]
    hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known) or 'nothing'}"
    return f"{place}: {dotted(path)}: there is no such key; {hint}"


def invalid_value(error: Mapping[str, Any], origins: Mapping[Path, Origin]) -> str:
    """A sentence for one entry of pydantic's `ValidationError.errors()`."""
    path: Path = tuple(error["loc"])
    origin = origin_of(path, origins)
    return f"{origin.place if origin else 'the settings'}: {dotted(path)}: {_reason(error)}"


def _reason(error: Mapping[str, Any]) -> str:
    value, kind, context = error["input"], error["type"], error.get("ctx", {})
    if kind == "missing":
        return "this has no default; it must be set"
    if value is None:
        return "this has no value; leave the key out for the default"
    if kind == "value_error":
        return str(context["error"])
    if kind in ("literal_error", "enum"):
        return f"{value!r} is not one of {context['expected']}"
    if kind in _EXPECTED:
        return f"{value!r} is not {_EXPECTED[kind]}"
    return f"{value!r} {str(error['msg']).removeprefix('Input ')}"  # "should be greater than or equal to 1"
