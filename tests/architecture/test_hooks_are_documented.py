"""The hooks are the contract with third parties: each says what it is for."""

import inspect
import re
from pathlib import Path

import pytest

from rover_core import hookspecs

ROOT = Path(__file__).parents[2]
HOOKS = [name for name in vars(hookspecs) if name.startswith("rover_")]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_says_when_it_is_called_and_since_when(hook: str) -> None:
    """Broken: a plugin author has to read the agent to learn when a hook is called."""
    text = inspect.getdoc(getattr(hookspecs, hook)) or ""
    assert re.search(r"Since \d+\.\d+\.", text)
    assert "alled" in text or "rover doctor" in text


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_in_the_reference_with_its_arguments(hook: str) -> None:
    """Broken: docs/hooks.md lacks a hook, or names it with other arguments than it has."""
    arguments = ", ".join(inspect.signature(getattr(hookspecs, hook)).parameters)
    assert (ROOT / "docs" / "hooks.md").read_text().count(f"{hook}({arguments})") >= 2, "in the diagram and the table"


def test_the_reference_names_no_hook_that_does_not_exist() -> None:
    """Broken: the documentation promises what is not called."""
    text = (ROOT / "docs" / "hooks.md").read_text()
    assert set(re.findall(r"(rover_[a-z_]+)\(", text)) == set(HOOKS)
