"""Who may import whom, as far as import-linter cannot say it (see [tool.importlinter] in pyproject.toml)."""

import ast
import importlib.metadata
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PUBLIC = {
    "model",
    "errors",
    "api",
    "hookspecs",
    "config",
    "expressions",
    "identity",
    "patterns",
    "policies",
    "wire",
    "procfs",
    "logs",
    "showing",
    "hottest",
    "tables",
    "flows",
    "flowtable",
    "sampletable",
    "commands",
    "classifiers",
}
"""What plugins may use outside their tests: floors 0 and 1 of rover_core, and what commands have in common."""

PACKAGES = [path.parent for path in (*ROOT.glob("bpf/*/__init__.py"), *ROOT.glob("plugins/**/rover_*/__init__.py"))]
FLOOR_0 = [ROOT / "rover_core" / "errors.py", *sorted((ROOT / "rover_core" / "model").glob("*.py"))]
STANDARD = set(sys.stdlib_module_names)
FILES = [file for package in PACKAGES for file in package.rglob("*.py")]


def imports(file: Path) -> Iterator[str]:
    """Dotted names of everything a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_there_is_something_to_check() -> None:
    """Broken: the layout changed and the tests below check nothing."""
    assert {package.name for package in PACKAGES} >= {"rover_bpf", "rover_oncpu", "rover_discovery_host"}


@pytest.mark.parametrize("file", FLOOR_0, ids=lambda file: file.stem)
def test_floor_0_is_the_standard_library_alone(file: Path) -> None:
    """Broken: whoever needs the records alone (a parser's test, a worker process) pays for pydantic."""
    assert all(name.startswith("rover_core.model.") or name.split(".")[0] in STANDARD for name in imports(file))


@pytest.mark.parametrize("file", sorted((ROOT / "rover_core" / "wire").glob("*.py")), ids=lambda file: file.stem)
def test_the_kit_of_protocols_is_the_standard_library_alone(file: Path) -> None:
    """Broken: a worker process that reads strangers' bytes has pydantic, or the agent, in memory."""
    roots = set(imports(file))
    assert {name.split(".")[0] for name in roots} - {"rover_core"} <= STANDARD
    ours = {name.split(".")[1] for name in roots if name.startswith("rover_core.")}
    assert ours <= {"wire", "model"}


def test_protocols_need_neither_a_kernel_nor_a_profiler() -> None:
    """Broken: a protocol cannot be tested on a laptop, or drags the runtime into its workers.

    Libraries that its own pyproject.toml names are its own affair.
    """
    distributions = importlib.metadata.packages_distributions()
    files = [file for file in FILES if "protocols" in file.relative_to(ROOT).parts]
    assert files
    for file in files:
        package = file.parents[0].name
        named = importlib.metadata.requires(package.replace("_", "-")) or []
        wanted = {re.split(r"[^\w-]", each, maxsplit=1)[0] for each in named} - {"rover-bpf"}
        roots = {name.split(".")[0] for name in imports(file)} - STANDARD
        others = roots - {"rover_core", package}
        assert all(wanted & set(distributions.get(root, ())) for root in others), (file, others)


def test_procfs_is_the_standard_library_alone() -> None:
    """Broken: reading /proc in a worker process costs more than /proc does."""
    roots = set(imports(ROOT / "rover_core" / "procfs.py"))
    assert {name.split(".")[0] for name in roots} - {"rover_core"} <= STANDARD
    assert {name for name in roots if name.startswith("rover_core")} <= {
        "rover_core.model.Process",
        "rover_core.model.ProcessKey",
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_plugins_use_only_the_public_floors_of_the_core(file: Path) -> None:
    """Broken: a change inside the agent breaks plugins, third parties' included."""
    used = {name.split(".")[1] for name in imports(file) if name.startswith("rover_core.")}
    assert used <= PUBLIC


def test_bcc_is_imported_by_the_loader_alone() -> None:
    """Broken: the agent keeps LLVM in memory, and a crash of the compiler is a crash of the agent."""
    files = [*FILES, *(ROOT / "rover_core").rglob("*.py")]
    users = [file for file in files if any(name.split(".")[0] == "bcc" for name in imports(file))]
    assert all("rover_bpf" in file.parts and "loader" in file.as_posix() for file in users), users


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_plugins_never_import_each_other(package: Path) -> None:
    """Broken: installing one plugin needs another, and a subset by extras does not work."""
    others = {other.name for other in PACKAGES} - {package.name, "rover_bpf"}
    for file in package.rglob("*.py"):
        used = {name.split(".")[0] for name in imports(file)}
        assert not used & others, file


def test_the_runtime_knows_no_plugin() -> None:
    """Broken: the runtime cannot be used without a plugin that it knows."""
    runtime = next(package for package in PACKAGES if package.name == "rover_bpf")
    plugins = {package.name for package in PACKAGES} - {"rover_bpf"}
    assert not {name.split(".")[0] for file in runtime.rglob("*.py") for name in imports(file)} & plugins
