"""`rover profile offcpu` and `rover profile both`: where threads wait, alone and beside where they compute."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from end_to_end import folded

pytestmark = pytest.mark.kernel
SHORT = ("--duration", "500ms")
STDOUT = ("--format", "folded", "--output", "-")


@pytest.fixture
def sleeping(start: Any) -> int:
    """The pid of a process that sleeps a hundredth of a second again and again."""
    pid: int = start("perl", "-e", "while (1) { select(undef, undef, undef, 0.01) }").pid
    return pid


def test_waits_are_folded_in_microseconds(rover: Any, sleeping: int) -> None:
    """Broken: half a second of sleep is not about 500 000, is below the scheduler, or lacks its unfinished end."""
    result = rover("profile", "offcpu", *SHORT, "--pid", sleeping, *STDOUT)
    assert result.returncode == 0, result.stderr
    stacks = folded(result.stdout)
    assert 300_000 < sum(stacks.values()) < 2_000_000
    assert not any(stack[-1].startswith("__schedule") for stack in stacks)
    assert max(stacks, key=lambda stack: stacks[stack])[-1].endswith("_[k]")
    assert "[still waiting]" in {stack[-1] for stack in stacks}, "it hardly ever does anything else"


def test_nothing_to_show_is_said_in_its_own_words(rover: Any, start: Any) -> None:
    """Broken: an idle process is said to have used no CPU time."""
    result = rover("profile", "offcpu", *SHORT, "--pid", start("sleep", "60").pid)
    assert result.returncode == 0
    assert "No waits: " in result.stdout
    assert "CPU time" not in result.stdout + result.stderr


def test_both_are_one_page(rover: Any, spinning: int, sleeping: int, tmp_path: Path) -> None:
    """Broken: one half is missing, or each half covers another time."""
    result = rover("profile", "both", *SHORT, "--pid", spinning, "--pid", sleeping)
    assert result.returncode == 0, result.stderr
    assert result.stdout.index("ON_CPU") < result.stdout.index("burn_a_while") < result.stdout.index("OFF_CPU")
    assert "ON_CPU: " in result.stderr
    assert "OFF_CPU: " in result.stderr
    (page,) = tmp_path.glob("*-both.html")
    text = page.read_text()
    assert [text.count(f"<h2>{name} CPU</h2>") for name in ("ON", "OFF")] == [1, 1]
    assert "burn_a_while" in text


def test_both_are_two_files_where_a_format_holds_one(rover: Any, spinning: int, tmp_path: Path) -> None:
    """Broken: one profile overwrites the other."""
    options = ("--period", "2ms", "--min-block", "0", "--state", "preempted,interruptible")
    result = rover("profile", "both", *SHORT, *options, "--pid", spinning, "--output", "x.pb.gz")
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x-offcpu.pb.gz", "x-oncpu.pb.gz"]
    assert all(path.name in result.stderr for path in tmp_path.iterdir())
    assert b"burn_a_while" in gzip.decompress((tmp_path / "x-oncpu.pb.gz").read_bytes())
    assert b"contentions" in gzip.decompress((tmp_path / "x-offcpu.pb.gz").read_bytes())


def test_two_files_do_not_go_to_standard_output(rover: Any) -> None:
    """Broken: two profiles of one stream that nobody can tell apart."""
    result = rover("profile", "both", *SHORT, *STDOUT)
    assert result.returncode == 2
    assert "several profiles cannot go to standard output" in result.stderr


def test_both_needs_both(rover: Any) -> None:
    """Broken: a command is offered that cannot work."""
    result = rover("profile", "both", env={"ROVER_DISABLED_PLUGINS": "offcpu"})
    assert result.returncode == 2
    assert "oncpu" in result.stderr.partition("installed are: ")[2]
    assert "offcpu" not in result.stderr.partition("installed are: ")[2]


def test_the_agent_stands_alone_with_both(rover: Any, tmp_path: Path) -> None:
    """Broken: of two standalone profilers one writes no file, or into the other's."""
    result = rover("run", "--set", "profiling.standalone=ON_CPU,OFF_CPU", "--duration", "2", "--demo")
    assert result.returncode == 0, result.stderr
    pages = [path.name for path in (tmp_path / "rover-data").glob("*.html")]
    assert {name.rsplit("-", 1)[1] for name in pages} == {"offcpu.html", "oncpu.html"}
    assert len(pages) == 2
    assert {"ON_CPU", "OFF_CPU"} <= set(result.stdout.split())
