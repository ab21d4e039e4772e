"""What plugins let `rover doctor` look at when asked."""

from collections.abc import Iterable, Iterator

import pytest
from click.testing import CliRunner

from rover_core.api import Check, Diagnostic, Health, Settings, hookimpl
from rover_core.cli import doctor as module
from rover_core.cli.main import cli
from rover_core.plugins import PluginManager


def fine(_: Settings) -> Iterable[Diagnostic]:
    yield Diagnostic("the moon", Health.OK, "is there")


def broken(_: Settings) -> Iterable[Diagnostic]:
    yield Diagnostic("the sun", Health.OK, "is there")
    raise OSError("too bright")


class Sky:
    @hookimpl
    def rover_checks(self) -> list[Check]:
        return [Check("moon", "Look at the moon, too.", fine), Check("far-sun", "Look at the sun, too.", broken)]


@pytest.fixture(autouse=True)
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """These checks are all that is installed."""

    def discover(*_: object, **__: object) -> PluginManager:
        manager = PluginManager()
        manager.register("sky", Sky())
        return manager

    monkeypatch.setattr(PluginManager, "discover", discover)
    module._offered.cache_clear()
    yield
    module._offered.cache_clear()


def test_help_offers_them() -> None:
    """Broken: nobody learns that a connection can be tried."""
    assert "Look at the moon, too." in CliRunner().invoke(cli, ["doctor", "--help"]).output


def test_they_are_made_when_asked_for_and_only_then() -> None:
    """Broken: doctor waits for a far host that nobody asked about; or the option does nothing."""
    assert "the moon" not in CliRunner().invoke(cli, ["doctor"]).output
    assert "the moon  is there" in CliRunner().invoke(cli, ["doctor", "--moon"]).output


def test_one_that_fails_is_named_and_the_rest_goes_on() -> None:
    """Broken: a plugin's mistake is a traceback instead of a line."""
    result = CliRunner().invoke(cli, ["doctor", "--far-sun", "--moon"])
    assert result.exit_code == 1
    assert "could not be checked: OSError('too bright')" in result.output
    assert "the moon" in result.output
