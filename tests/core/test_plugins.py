"""One broken plugin is reported; the others go on."""

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from rover_core.api import Settings, SettingsSection, hookimpl
from rover_core.config.loading import load_settings
from rover_core.config.sections import LoggerSettings
from rover_core.plugins import PluginInfo, PluginManager, PluginState

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a distribution with one plugin module, as pip would; the rest of the machine's plugins are hidden."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *(path for path in sys.path if path)])

    def write(module: str, source: str, *, name: str = "", distribution: str = "") -> None:
        distribution = distribution or f"dist-{module}"
        (tmp_path / f"{module}.py").write_text("from rover_core.api import hookimpl\n" + textwrap.dedent(source))
        info = tmp_path / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[rover.plugins]\n{name or module} = {module}\n")
        monkeypatch.delitem(sys.modules, module, raising=False)

    return write


def discovered(*names: str, disabled: list[str] | None = None) -> tuple[PluginManager, dict[str, PluginInfo]]:
    manager = PluginManager.discover(disabled)
    return manager, {plugin.name: plugin for plugin in manager.plugins}


def test_an_installed_plugin_is_found_and_described(install: Install) -> None:
    """Broken: a third party's plugin needs a change in Rover to be seen."""
    install("outsider_a", "@hookimpl\ndef rover_formats():\n    return ['csv']\n")
    manager, plugins = discovered()
    assert plugins["outsider_a"] == PluginInfo(
        "outsider_a", "dist-outsider_a", "1.2", ("rover_formats",), PluginState.LOADED
    )
    assert "csv" in manager.formats()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import not_there_at_all", "cannot be imported: ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("import sys; sys.exit(3)", "cannot be imported: SystemExit: 3"),
        ("syntax error", "cannot be imported: SyntaxError"),
        (
            "@hookimpl\ndef rover_profiler(settings): ...",
            "there is no hook rover_profiler; did you mean rover_profilers?",
        ),
        ("def rover_formats(): ...", "rover_formats is not decorated with @hookimpl, so it would never be called"),
        ("@hookimpl\ndef rover_formats(sittings): ...", "{'sittings'}"),
    ],
)
def test_a_plugin_that_cannot_work_is_reported_with_its_reason(install: Install, source: str, reason: str) -> None:
    """Broken: one faulty plugin stops the agent, or is silently without effect."""
    install("outsider_b", source)
    install("outsider_c", "@hookimpl\ndef rover_formats():\n    return ['fine']\n")
    manager, plugins = discovered()
    assert plugins["outsider_b"].state is PluginState.FAILED
    assert reason in plugins["outsider_b"].reason
    assert "outsider_b" in manager.unloaded
    assert "fine" in manager.formats()


def test_two_plugins_of_one_name_are_told_apart(install: Install) -> None:
    """Broken: which of two plugins runs depends on chance."""
    install("outsider_d", "", name="twin", distribution="dist-first")
    install("outsider_e", "", name="twin", distribution="dist-second")
    manager = PluginManager.discover([])
    states = [(p.distribution, p.state, p.reason) for p in manager.plugins if p.name == "twin"]
    assert states == [
        ("dist-first", PluginState.LOADED, ""),
        ("dist-second", PluginState.FAILED, "the name twin is taken by the distribution dist-first"),
    ]


def test_a_disabled_plugin_is_not_even_imported(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a plugin whose import kills the agent cannot be switched off."""
    install("outsider_f", "raise SystemError('imported')")
    assert discovered(disabled=["outsider_f"])[1]["outsider_f"].state is PluginState.DISABLED
    monkeypatch.setenv("ROVER_DISABLED_PLUGINS", "other, outsider_f")
    assert PluginManager.discover().unloaded.count("outsider_f") == 1
    assert discovered()[1]["outsider_f"].state is PluginState.DISABLED


class Good:
    @hookimpl
    def rover_settings(self) -> list[SettingsSection]:
        return [SettingsSection("good", LoggerSettings)]

    @hookimpl
    def rover_discoverers(self, settings: Settings) -> list[str]:
        return [f"sees {settings.section(LoggerSettings).level}"]

    @hookimpl
    def rover_commands(self, cli: click.Group) -> None:
        cli.add_command(click.Command("good"))


class Bad:
    """Returns what is no list, raises in the middle of a generator, raises at once."""

    @hookimpl
    def rover_settings(self) -> object:
        return 5

    @hookimpl
    def rover_discoverers(self, settings: Settings) -> object:
        yield "half"
        raise ValueError("out of luck")

    @hookimpl
    def rover_commands(self, cli: click.Group) -> None:
        raise SystemExit(1)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("sections", "rover_settings: TypeError: returned 5, expected a list"),
        ("discoverers", "rover_discoverers: ValueError: out of luck"),
        ("add_commands", "rover_commands: SystemExit: 1"),
    ],
)
def test_a_hook_that_fails_is_attributed_and_the_others_are_heard(call: str, reason: str) -> None:
    """Broken: the wrong plugin is blamed, nobody is told of it, or the good ones are lost with the bad one."""
    manager, cli = PluginManager(), click.Group()
    told: list[str] = []
    manager.on_failure = lambda plugin: told.append(plugin.reason)
    for name, plugin in (("good", Good()), ("bad", Bad()), ("good2", Good())):
        manager.register(name, plugin, distribution=name)
    calls = {
        "sections": lambda: len(manager.sections()),
        "discoverers": lambda: len(manager.discoverers(load_settings([], environ={}))),
        "add_commands": lambda: manager.add_commands(cli) or len(cli.commands) + 1,
    }
    assert calls[call]() == 2
    assert [(p.name, p.state.value, p.reason) for p in manager.plugins] == [
        ("good", "loaded", ""),
        ("bad", "failed", reason),
        ("good2", "loaded", ""),
    ]
    assert manager.unloaded == ["bad"]
    assert calls[call]() == 2, "a failed plugin is not called again"
    assert told == [reason]


def test_hook_wrappers_still_wrap_every_plugin() -> None:
    """Broken: pluggy's own means of observing and changing hooks does nothing in Rover."""

    class Wrapper:
        @hookimpl(wrapper=True)
        def rover_formats(self) -> object:
            results = yield
            return [[f"wrapped {item}" for item in result] for result in results]

    class Formats:
        def __init__(self, name: str) -> None:
            self.name = name

        @hookimpl
        def rover_formats(self) -> list[str]:
            return [self.name]

    manager = PluginManager()
    for name, plugin in (("a", Formats("a")), ("wrapper", Wrapper()), ("b", Formats("b"))):
        manager.register(name, plugin)
    assert sorted(str(item) for item in manager.formats()) == ["wrapped a", "wrapped b"]


def test_pluggys_order_marks_are_respected() -> None:
    """Broken: `tryfirst` has no effect, so a plugin cannot come before another."""

    class Late:
        @hookimpl
        def rover_formats(self) -> list[str]:
            return ["late"]

    class Early:
        @hookimpl(tryfirst=True)
        def rover_formats(self) -> list[str]:
            return ["early"]

    manager = PluginManager()
    manager.register("early", Early())
    manager.register("late", Late())
    assert [str(item) for item in manager.formats()] == ["early", "late"]


def test_none_means_nothing_from_me() -> None:
    """Broken: a plugin that decides at run time to stay out of it is an error."""

    class Quiet:
        @hookimpl
        def rover_formats(self) -> None:
            return None

    manager = PluginManager()
    manager.register("quiet", Quiet())
    assert manager.formats() == []
    assert manager.plugins[0].state is PluginState.LOADED


def test_what_is_no_section_is_the_plugins_failure() -> None:
    """Broken: a tuple instead of a SettingsSection is a traceback of the core."""

    class Tuples:
        @hookimpl
        def rover_settings(self) -> list[object]:
            return [("path", LoggerSettings)]

    manager = PluginManager()
    manager.register("tuples", Tuples())
    assert manager.sections() == []
    assert "expected a SettingsSection" in manager.plugins[0].reason


def test_one_module_under_two_names_is_reported() -> None:
    """Broken: a plugin registered twice takes the first registration down with it."""
    manager, plugin = PluginManager(), Good()
    manager.register("first", plugin)
    manager.register("second", plugin)
    assert [p.state for p in manager.plugins] == [PluginState.LOADED, PluginState.FAILED]
    assert len(manager.sections()) == 1
