"""The exporter: files of each task when it is over, whole ones, and as many as possible."""

import asyncio
import errno
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from subprocess import run
from typing import Any, BinaryIO, cast

import pytest
from pydantic import ValidationError

from rover_core.api import AgentContext
from rover_core.errors import RoverError
from rover_core.model import Profile
from rover_core.testing import make_telemetry
from rover_exporter_local import filewriter
from rover_exporter_local.exporter import LocalExporter
from rover_exporter_local.formats import FORMATS
from rover_exporter_local.settings import LocalSettings
from rover_exporter_local.store import Store
from rover_exporter_local.text import moment
from rover_exporter_local.writing import write_files

CONTEXT = cast(AgentContext, None)


def exporter(directory: Path, *formats: str) -> LocalExporter:
    return LocalExporter(LocalSettings.model_validate({"directory": directory, "formats": formats}))


async def export(exporter: LocalExporter, *profiles: Profile) -> list[str]:
    await exporter.start(CONTEXT)
    for profile in profiles:
        await exporter.export(profile)
    return list(await exporter.stop())


class Failing:
    """A format that fails after its first bytes."""

    name, extension, binary, description = "html", "html", False, "flame graph"

    def __init__(self, error: Exception) -> None:
        self.error = error

    def write(self, profile: Profile, out: BinaryIO) -> None:
        out.write(b"half a page")
        raise self.error


async def test_every_task_gets_its_files(tmp_path: Path, profile: Profile) -> None:
    """Broken: a file is missing, misnamed, overwritten by another task's, or not named to the user."""
    begin = f"{moment(profile.start_ns):%Y%m%d-%H%M%S}"
    second = replace(profile, task_id="a/b")
    lines = await export(exporter(tmp_path, "html", "pprof"), profile, second, profile)
    assert lines == [
        f"flame graph: {tmp_path}/{begin}-oncpu.html",
        f"pprof: {tmp_path}/{begin}-oncpu.pb.gz",
        f"flame graph: {tmp_path}/{begin}-oncpu-a_b.html",
        f"pprof: {tmp_path}/{begin}-oncpu-a_b.pb.gz",
    ]
    for line in lines:
        assert Path(line.split(": ")[1]).stat().st_size > 100
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith(".")} == set()
    reader = Store.read(tmp_path / "profiles.db")
    assert [(task.task_id, task.profiles) for task in reader.tasks()] == [("task-1", 2), ("a/b", 1)]
    reader.close()


async def written(local: LocalExporter, count: int) -> list[Path]:
    """The HTML files there are, once there are that many."""
    for _ in range(200):
        files = sorted(local._settings.directory.glob("*.html"))
        if len(files) >= count:
            return files
        await asyncio.sleep(0.05)
    raise AssertionError(f"{files}, not {count}")


async def test_files_come_with_the_last_profile(tmp_path: Path, profile: Profile) -> None:
    """Broken: a service writes all of its files at its stop, weeks later, or some of them twice."""
    local = exporter(tmp_path, "html")
    await local.start(CONTEXT)
    await local.export(profile)
    await local.export(replace(profile, task_id="later", start_ns=profile.start_ns + 10**9))
    assert list(tmp_path.glob("*.html")) == []
    await local.export(replace(profile, last=True))
    (first,) = await written(local, 1)
    stamp = first.stat().st_mtime_ns
    lines = await local.stop()
    assert len(lines) == 2
    assert first.stat().st_mtime_ns == stamp
    assert len(list(tmp_path.glob("*.html"))) == 2


async def test_a_task_id_that_comes_again_is_another_task(tmp_path: Path, profile: Profile) -> None:
    """Broken: a task that a backend sends again is mixed with the one that ended."""
    last = replace(profile, last=True)
    assert len(await export(exporter(tmp_path, "html"), last, last)) == 2
    reader = Store.read(tmp_path / "profiles.db")
    assert [task.task_id for task in reader.tasks()] == ["task-1", "task-1~2"]
    reader.close()


async def test_lines_are_bounded(tmp_path: Path, profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a service of weeks ends with thousands of lines, or remembers every task it ever had."""
    monkeypatch.setattr(filewriter, "_WAITING", 2)
    local = exporter(tmp_path, "folded")
    await local.start(CONTEXT)
    for number in range(30):
        await local.export(replace(profile, task_id=f"t{number}", last=True))
    assert len(local._files._waiting) <= 2
    lines = await local.stop()
    assert len(lines) == 20
    assert any("other tasks wait" in line for line in lines)


async def test_stop_does_not_wait_for_ever(tmp_path: Path, profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: an agent that was told to stop hangs on a large file, says nothing of it, or leaves half of it."""
    monkeypatch.setattr("rover_exporter_local.exporter._STOP_WITHIN_S", 0.01)
    lines = await export(exporter(tmp_path, "html"), profile)
    assert [line.partition(":")[0] for line in lines] == ["no files of task task-1"]
    assert "rover history export" in lines[0]
    assert [path.name for path in tmp_path.iterdir()] == ["profiles.db"]


async def test_a_writer_that_fails_is_told(tmp_path: Path, profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a crash of the process that writes files passes in silence, or takes the next task's files along."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    (line,) = await export(exporter(tmp_path, "html"), profile)
    assert line.startswith("no files of task task-1: its writer ended with 1")


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), ValueError("a bug")])
def test_one_failure_costs_one_file(
    tmp_path: Path, profile: Profile, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Broken: one format that fails takes the others along, leaves half a file, or is passed over in silence."""
    store = Store.open(tmp_path / "profiles.db")
    store.add(profile)
    store.close()
    monkeypatch.setitem(cast(dict[str, Any], FORMATS), "html", Failing(error))
    failed, written = write_files(store.path, "task-1", ["html", "folded"])
    assert str(error.args[-1]) in failed.failure
    assert not written.failure
    assert Path(written.path).stat().st_size == written.size
    assert [path.suffix for path in tmp_path.iterdir() if "profiles.db" not in path.name] == [".folded"]


async def test_a_file_that_cannot_be_written_is_told(tmp_path: Path, profile: Profile) -> None:
    """Broken: the line names a file that is not there."""
    local = exporter(tmp_path / "data", "html")
    await local.start(CONTEXT)
    await local.export(profile)
    begin = f"{moment(profile.start_ns):%Y%m%d-%H%M%S}"
    for name in (f"{begin}-oncpu.html", f"{begin}-oncpu-task-1.html"):
        (tmp_path / "data" / name).mkdir()
        (tmp_path / "data" / name / "full").touch()
    (line,) = await local.stop()
    assert line.startswith("not written: ")
    assert "Is a directory" in line


async def test_blocking_work_leaves_the_loop_alone(
    tmp_path: Path, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: the agent stands still while a profile is stored, or two threads use the store at once."""
    threads: list[int] = []
    busy = threading.Lock()
    add = Store.add

    def recorded(self: Store, profile: Profile) -> str:
        threads.append(threading.get_ident())
        assert busy.acquire(blocking=False), "two at a time"
        try:
            return add(self, profile)
        finally:
            busy.release()

    monkeypatch.setattr(Store, "add", recorded)
    local = exporter(tmp_path)
    await local.start(CONTEXT)
    await asyncio.gather(*(local.export(profile) for _ in range(8)))
    await local.stop()
    assert len(threads) == 8
    assert threading.get_ident() not in threads


async def test_start_says_why_not(tmp_path: Path, profile: Profile) -> None:
    """Broken: an agent that cannot keep anything seems to run well, its batches count as kept."""
    (tmp_path / "profiles.db").write_text("something else, long enough to be no database header" * 9)
    local = exporter(tmp_path)
    with pytest.raises(RoverError, match="Move the file out of the way"):
        await local.start(CONTEXT)
    with pytest.raises(RoverError, match="could not be started"):
        await local.export(profile)
    assert list(await local.stop()) == []


def test_unknown_format_is_refused() -> None:
    """Broken: a mistyped format is found out when the agent ends."""
    with pytest.raises(ValueError, match="'folded', 'html', 'pprof' or 'speedscope'"):
        LocalSettings.model_validate({"formats": "html,svg"})
    assert LocalSettings.model_validate({"formats": "html, pprof"}).formats == ("html", "pprof")


def test_the_plugin_alone_is_light() -> None:
    """Broken: every `rover` command, and every agent without this exporter, pays for SQLite and rich."""
    program = "import sys, rover_exporter_local.plugin; print({'sqlite3', 'rich', 'gzip'} & set(sys.modules))"
    result = run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == "set()"


def test_storing_alone_is_light() -> None:
    """Broken: the agent carries what only files need, for weeks; or each file's process what only the agent needs."""
    storing = "rover_exporter_local.exporter, rover_exporter_local.store"
    unneeded = {"rover_exporter_local.formats", "rover_exporter_local.tree", "html", "gzip"}
    assert loaded(storing, unneeded) == "set()"
    assert loaded("rover_exporter_local.writing", {"pydantic", "structlog", "asyncio", "rich", "click"}) == "set()"


def loaded(modules: str, wanted: set[str]) -> str:
    program = f"import sys, {modules}; print({wanted} & set(sys.modules))"
    return run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("mode", ["0777", "0700", "0400", "600x", "rw-------", ""])
def test_modes_that_make_no_sense_are_refused(mode: str) -> None:
    """Broken: a store that its own agent cannot write, or that anybody may run."""
    with pytest.raises(ValidationError):
        LocalSettings.model_validate({"mode": mode})
    assert LocalSettings.model_validate({"mode": "640"}).mode == "640"


async def test_what_is_of_no_task_is_not_kept(tmp_path: Path) -> None:
    """Broken: metrics that are only for a backend fill the store, as a task without a name."""
    local = exporter(tmp_path)
    await local.start(CONTEXT)
    await local.export(make_telemetry(task_id=""))
    await local.stop()
    with closing(Store.read(tmp_path / "profiles.db")) as store:
        assert store.tasks() == []
