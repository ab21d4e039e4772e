"""What a plain install of each subset holds. Wheels are built once; every environment is new."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from email.parser import Parser
from pathlib import Path

import pytest

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).parents[2]
UV = ROOT / ".tools" / "uv" / "bin" / "uv"
# Every folder with a distribution, without a list that a new plugin would have to be added to.
OURS = {
    tomllib.loads(path.read_text())["project"]["name"]
    for pattern in ("pyproject.toml", "bpf/pyproject.toml", "plugins/*/pyproject.toml", "plugins/*/*/pyproject.toml")
    for path in ROOT.glob(pattern)
}
PROTOCOLS = sorted(path.parent.name for path in ROOT.glob("plugins/protocols/*/pyproject.toml"))
CONNECT = """
from rover_core.config.loading import load_settings
from rover_core.plugins import PluginManager
from rover_core.wire import Limits

manager = PluginManager.discover()
for protocol in manager.protocols(load_settings(manager.sections())):
    protocol.connect(Limits()).feed(0, b"x" * 100, 0, 1)
    print(protocol.name)
"""
_DATA = {".c", ".h", ".html", ".css", ".js", ".json", ".proto", ".tmpl", ".typed"}


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command outside the project's environment and return what it printed."""
    environ = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    result = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


class Environment:
    """A new virtual environment that sees neither the system's packages nor the checkout."""

    def __init__(self, folder: Path, wheels: Path) -> None:
        self._bin, self._wheels = folder / "bin", wheels
        run(UV, "venv", "--quiet", "--python", "/usr/bin/python3", folder)

    def install(self, *requirements: str | Path) -> None:
        python = ("--python", self._bin / "python")
        run(UV, "pip", "install", "--quiet", *python, "--find-links", self._wheels, *requirements)

    def ours(self) -> set[str]:
        listed = json.loads(run(UV, "pip", "list", "--quiet", "--format", "json", "--python", self._bin / "python"))
        return {package["name"] for package in listed if package["name"].startswith("rover-")}

    def run(self, program: str, *arguments: str | Path, cwd: Path | None = None) -> str:
        return run(self._bin / program, *arguments, cwd=cwd or self._bin)

    def plugins(self) -> dict[str, dict[str, str]]:
        return {plugin["name"]: plugin for plugin in json.loads(self.run("rover", "plugins", "--json"))}


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel of every distribution of this checkout."""
    folder = tmp_path_factory.mktemp("wheels")
    run(UV, "build", "--quiet", "--all-packages", "--wheel", "--out-dir", folder, cwd=ROOT)
    return folder


@pytest.fixture
def new_environment(tmp_path: Path, wheels: Path) -> Callable[[], Environment]:
    return lambda: Environment(tmp_path / "venv", wheels)


def test_every_distribution_builds(wheels: Path) -> None:
    """Broken: a release lacks a distribution."""
    assert {wheel.name.split("-")[0].replace("_", "-") for wheel in wheels.glob("*.whl")} == OURS


def test_the_core_alone_runs_on_any_laptop(new_environment: Callable[[], Environment]) -> None:
    """Broken: the core needs bcc, numpy or a plugin."""
    environment = new_environment()
    environment.install("rover-agent")
    assert environment.ours() == {"rover-agent"}
    find = "import importlib.util as u; print([m for m in ('bcc', 'numpy', 'rover_bpf') if u.find_spec(m)])"
    assert environment.run("python", "-c", find).strip() == "[]"
    assert "No plugin is installed" in environment.run("rover", "plugins")
    assert "flush_interval: 5s" in environment.run("rover", "config", "show")


def test_an_extra_installs_its_subset_and_no_more(new_environment: Callable[[], Environment]) -> None:
    """Broken: `pip install 'rover-agent[oncpu]'` lacks something, or brings what nobody asked for."""
    environment = new_environment()
    environment.install("rover-agent[oncpu]")
    assert environment.ours() == {"rover-agent", "rover-bpf", "rover-oncpu"}
    assert set(environment.plugins()) == {"bpf", "oncpu"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_protocols_extra_brings_the_profiler_and_that_protocol_alone(
    new_environment: Callable[[], Environment], protocol: str
) -> None:
    """Broken: `pip install 'rover-agent[mysql]'` reads nothing, or brings the other protocols too."""
    environment = new_environment()
    environment.install(f"rover-agent[{protocol}]")
    assert environment.ours() == {"rover-agent", "rover-bpf", "rover-network", f"rover-{protocol}"}
    assert environment.run("python", "-c", CONNECT).strip() == protocol


def test_everything_loads_as_it_does_in_the_checkout(new_environment: Callable[[], Environment]) -> None:
    """Broken: a plugin that works in the checkout does not when installed."""
    environment = new_environment()
    environment.install("rover-agent[all]")
    assert environment.ours() == OURS
    checkout = json.loads(run(Path(sys.executable).with_name("rover"), "plugins", "--json"))
    assert environment.plugins() == {plugin["name"]: plugin for plugin in checkout}


def test_a_third_partys_plugin_needs_no_change_in_rover(
    new_environment: Callable[[], Environment], tmp_path: Path
) -> None:
    """Broken: the example in examples/ is not found after a plain install, or its own test fails."""
    example = shutil.copytree(ROOT / "examples" / "rover-hello", tmp_path / "rover-hello")
    environment = new_environment()
    environment.install("rover-agent", example, "pytest")
    plugin = environment.plugins()["hello"]
    assert (plugin["distribution"], plugin["state"]) == ("rover-hello", "loaded")
    assert plugin["hooks"] == ["rover_formats"]
    environment.run("python", "-m", "pytest", "-q", cwd=example)


def test_a_third_partys_protocol_needs_no_change_in_rover(
    new_environment: Callable[[], Environment], tmp_path: Path
) -> None:
    """Broken: who follows docs/writing-a-protocol.md has a plugin that is not found, or that reads nothing."""
    example = shutil.copytree(ROOT / "examples" / "rover-redis", tmp_path / "rover-redis")
    environment = new_environment()
    environment.install("rover-agent[network]", example, "pytest", "hypothesis")
    plugin = environment.plugins()["redis"]
    assert (plugin["distribution"], plugin["state"], plugin["hooks"]) == (
        "rover-redis",
        "loaded",
        ["rover_protocols"],
    )
    report = environment.run("python", "-m", "pytest", "-q", "-rs", cwd=example)
    assert "skipped" not in report or os.geteuid() != 0, report


def test_the_tutorials_first_lines_work(new_environment: Callable[[], Environment], tmp_path: Path) -> None:
    """Broken: who follows docs/writing-a-plugin.md fails within the first ten lines."""
    tutorial = (ROOT / "docs" / "writing-a-plugin.md").read_text()
    module, project = re.findall(r"```\w+\n(.*?)```", tutorial, re.DOTALL)[:2]
    folder = tmp_path / "tutorial"
    folder.mkdir()
    (folder / "rover_hello.py").write_text(module)
    (folder / "pyproject.toml").write_text(project)
    assert len((module + project).splitlines()) <= 10
    environment = new_environment()
    environment.install("rover-agent", folder)
    assert environment.run("rover", "hello") == "hello from a plugin\n"
    assert "hello" in environment.run("rover", "--help")


def test_requirements_can_be_met_from_an_index(wheels: Path) -> None:
    """Broken: a wheel points into this checkout, or requires PyPI's `bcc`, which is something else entirely."""
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            metadata = Parser().parsestr(archive.read(name).decode())
        requirements = metadata.get_all("Requires-Dist", [])
        assert not [requirement for requirement in requirements if "file:" in requirement or "@" in requirement]
        assert "bcc" not in {re.split(r"[^\w-]", requirement)[0] for requirement in requirements}


def test_data_files_ship(wheels: Path) -> None:
    """Broken: eBPF programs, templates, py.typed or what was compiled are in the checkout but not in the wheel."""
    shipped: set[str] = set()
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            shipped.update(archive.namelist())
    packages = [ROOT / "rover_core", *(path.parent for path in ROOT.glob("bpf/rover_*/__init__.py"))]
    packages += [path.parent for path in ROOT.glob("plugins/**/rover_*/__init__.py")]
    data = {
        str(file.relative_to(package.parent))
        for package in packages
        for file in package.rglob("*")
        if file.suffix in _DATA
    }
    data |= {name.replace(".proto", "_pb2.py") for name in data if name.endswith(".proto")}
    assert data <= shipped, data - shipped
    assert {f"{package.name}/py.typed" for package in packages} <= shipped
