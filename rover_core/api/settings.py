"""Settings of plugins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:  # workers, which read strangers' bytes, import protocols and need no settings
    from pydantic import BaseModel

Model = TypeVar("Model", bound="BaseModel")


@dataclass(frozen=True, slots=True)
class SettingsSection:
    """A plugin's settings: a pydantic model mounted at a dotted path of the one settings tree.

    path: e.g. `profiling.task.on_cpu`. The environment name of a field is `ROVER_` + the path and the field in
    upper case, unless the field says otherwise (`rover_core.config.env`). Sections may share a path as long as no
    two have a field of the same name.
    """

    path: str
    model: type[BaseModel]


class Settings(Protocol):
    """The effective settings, read only."""

    def section(self, model: type[Model]) -> Model:
        """The section that was mounted with this model. KeyError if no plugin mounted it."""
        ...
