"""What a reader has found in one protocol's folder is at the same place in all others."""

import re
from pathlib import Path

import pytest

FOLDERS = sorted(path for path in (Path(__file__).parents[2] / "plugins" / "protocols").iterdir() if path.is_dir())
HEADINGS = [
    "Specification",
    "Files",
    "What it says",
    "What it looks like",
    "What it can read",
    "Limits",
    "Libraries",
    "How it was checked",
]
MODULES = ("__init__", "plugin", "connection", "readers", "text")
TESTS = ("captures", "classifier", "conformance", "live", "parsing", "recorded")


def test_there_is_something_to_check() -> None:
    """Broken: the layout changed and the tests below check nothing."""
    assert len(FOLDERS) >= 7


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_files_of_the_same_role_have_the_same_name(folder: Path) -> None:
    """Broken: whoever knows one protocol has to search in another."""
    package = folder / f"rover_{folder.name}"
    expected = [folder / "pyproject.toml", package / f"{folder.name}_classify.h", package / "py.typed"]
    expected += [package / f"{name}.py" for name in MODULES]
    expected += [folder / "tests" / f"test_{name}.py" for name in TESTS]
    expected += [folder / "tests" / name for name in ("conftest.py", "captures/README.md")]
    assert [str(file.relative_to(folder)) for file in expected if not file.is_file()] == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_readmes_say_the_same_things_at_the_same_places(folder: Path) -> None:
    """Broken: a specification, limits or sample output are not where they are elsewhere, or nowhere."""
    title, *sections = re.split(r"^## ", (folder / "README.md").read_text(), flags=re.MULTILINE)
    told = dict(section.split("\n", 1) for section in sections)
    assert title.startswith(f"# rover-{folder.name}\n")
    assert list(told) == HEADINGS
    assert "](https://" in told["Specification"]
    assert re.search(r"`rover profile network .*`.*\n\n```\n.*Operation.*\n(.*\n){3,}```", told["What it looks like"])
    files = {file.name for file in (folder / f"rover_{folder.name}").iterdir()} - {"__init__.py", "py.typed"}
    listed = set(re.findall(r"`([\w.]+)`", "\n".join(re.findall(r"^\|[^|]*\|", told["Files"], flags=re.MULTILINE))))
    assert listed - {"make_schemas.py"} == {name for name in files if "." in name} - {"plugin.py"}
