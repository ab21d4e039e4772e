"""The file with every setting, and the one that is shipped."""

from pathlib import Path
from typing import Annotated

import pytest
from click.testing import CliRunner
from pydantic import BaseModel, Field

from rover_core.api import SettingsSection
from rover_core.cli.main import cli
from rover_core.config import CommaList, Duration, Env, Size
from rover_core.config.example import example
from rover_core.config.loading import load_settings
from rover_core.plugins import PluginManager

SHIPPED = Path(__file__).parents[2] / "configs" / "skywalking.yaml"


class Item(BaseModel):
    name: Annotated[str, Env("ROVER_ITEM_NAME")] = "{{.Process.ExeName}}"
    labels: CommaList = ("a", "b")


class Nested(BaseModel):
    """What it is for."""

    period: Duration = Field(default=1_500_000_000, description="How often: now and then")
    size: Annotated[Size, Env("ROVER_OTHER_NAME")] = 409_600
    on: bool = True
    names: CommaList = ("a", "b")
    tricky: str = "a: b #c"
    empty: str = ""
    folder: Path = Path("here")
    nothing: int | None = None
    items: tuple[Item, ...] = ()


SECTIONS = [SettingsSection("some.where", Nested)]


def test_it_says_the_defaults_and_nothing_else(tmp_path: Path) -> None:
    """Broken: who starts from the example has another configuration than who has none."""
    file = tmp_path / "rover.yaml"
    file.write_text(example(SECTIONS))
    read = load_settings(SECTIONS, file=file, environ={})
    assert read.tree() == load_settings(SECTIONS, environ={}).tree()
    assert read.warnings == ()
    unsaid = {key for key, origin in read.origins().items() if origin == "default"}
    assert unsaid == {"some.where.nothing"}, "which has no default that could be written"


def test_it_names_variables_and_purposes() -> None:
    """Broken: the reader has to look for the variable of a key, or for what the key does."""
    lines = [line.strip() for line in example(SECTIONS).splitlines()]
    assert "size: ${ROVER_OTHER_NAME:400KB}" in lines
    assert lines.index("# How often: now and then") + 1 == lines.index("period: ${ROVER_SOME_WHERE_PERIOD:1.5s}")
    assert lines.index("# What it is for.") + 1 == lines.index("where:")
    assert "# - name: ${ROVER_ITEM_NAME:{{.Process.ExeName}}}" in lines, "what an entry would look like"


def test_a_variable_is_taken_where_it_is_set(tmp_path: Path) -> None:
    """Broken: the placeholders are decoration."""
    file = tmp_path / "rover.yaml"
    file.write_text(example(SECTIONS))
    settings = load_settings(SECTIONS, file=file, environ={"ROVER_OTHER_NAME": "8KB", "ROVER_SOME_WHERE_TRICKY": "x"})
    section = settings.section(Nested)
    assert (section.size, section.tricky) == (8192, "x")


def test_the_shipped_file_is_what_the_command_prints() -> None:
    """Broken: configs/skywalking.yaml lacks a key. What `rover config example` prints belongs into it."""
    result = CliRunner().invoke(cli, ["config", "example"])
    assert result.exit_code == 0
    head, _, body = SHIPPED.read_text().partition("\n\n")
    assert body == result.stdout
    assert all(line.startswith("#") for line in head.splitlines())


def test_the_shipped_file_is_for_a_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: the documented way of working for a backend stands alone instead."""
    plugins = PluginManager.discover(disabled=())
    settings = load_settings(plugins.sections(), file=SHIPPED, environ={})
    assert {source.name for source in plugins.task_sources(settings)} == {"continuous", "skywalking"}
    assert settings.tree() == load_settings(plugins.sections(), environ={}).tree()
