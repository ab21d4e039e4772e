"""The exporter: files at the end, whole ones, and as many as possible."""

import asyncio
import errno
import sys
import threading
from dataclasses import replace
from pathlib import Path
from subprocess import run
from typing import Any, BinaryIO, cast

import pytest

from rover_core.api import AgentContext
from rover_core.errors import RoverError
from rover_core.model import Profile
from rover_exporter_local.exporter import LocalExporter
from rover_exporter_local.formats import FORMATS
from rover_exporter_local.settings import LocalSettings
from rover_exporter_local.store import Store
from rover_exporter_local.text import moment

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


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), ValueError("a bug")])
async def test_one_failure_costs_one_file(
    tmp_path: Path, profile: Profile, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Broken: one format that fails takes the others along, leaves half a file, or is passed over in silence."""
    monkeypatch.setitem(cast(dict[str, Any], FORMATS), "html", Failing(error))
    failed, written = await export(exporter(tmp_path, "html", "folded"), profile)
    assert failed.startswith(f"not written: {tmp_path}")
    assert str(error.args[-1]) in failed
    assert written.startswith("folded stacks")
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".db", ".folded"]


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
