"""What `rover doctor` says."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rover_core.api.settings import Settings


class Health(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One line of `rover doctor`. A PROBLEM makes it exit with status 1.

    figures: what was measured, by name with its unit, for `--json`.
    """

    name: str
    health: Health
    detail: str
    remedy: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Check:
    """Something `rover doctor` looks at only when asked: it takes long, or leaves this host.

    name: `backend` becomes `rover doctor --backend`; help: one line; run: what was found.
    """

    name: str
    help: str
    run: Callable[[Settings], Iterable[Diagnostic]]
