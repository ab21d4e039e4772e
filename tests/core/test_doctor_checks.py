"""What plugins let `rover doctor` look at when asked."""

import os
import re
from collections.abc import Iterable, Iterator

import pytest

from rover_core.api import Check, Diagnostic, Health, Settings, hookimpl
from rover_core.cli import doctor as module
from rover_core.cli.main import run_cli
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


def test_help_offers_them(capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: nobody learns that a connection can be tried."""
    assert run_cli(["doctor", "--help"]) == 0
    assert "Look at the moon, too." in capsys.readouterr().out


def test_they_are_made_when_asked_for_and_only_then(capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: doctor waits for a far host that nobody asked about; or the option does nothing."""
    run_cli(["doctor"])
    assert "the moon" not in capsys.readouterr().out
    run_cli(["doctor", "--moon"])
    assert re.search(r"ok +the moon +is there", capsys.readouterr().out)


def test_one_that_fails_is_named_and_the_rest_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a plugin's mistake is a traceback instead of a line."""
    assert run_cli(["doctor", "--far-sun", "--moon"]) == 1
    said = capsys.readouterr().out
    assert re.search(r"FAIL +far-sun +could not be checked: OSError\('too bright'\)", said)
    assert "the moon" in said


def test_the_verdict_is_about_what_was_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a look at one process ends with a verdict on the host, and one warning is `1 warnings`."""
    run_cli(["doctor"])
    assert "This host cannot be profiled yet: 1 problem, 0 warnings." in capsys.readouterr().out
    run_cli(["doctor", "--pid", str(os.getpid())])
    assert f"Process {os.getpid()} cannot be profiled yet: 1 problem, 0 warnings." in capsys.readouterr().out
