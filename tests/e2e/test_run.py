"""`rover run` as a person and as a service manager run it, and what is left when it is gone."""

import json
import re
import signal
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from end_to_end import ENVIRONMENT, children, interrupt, until, wait_for_line
from kernelobjects import ebpf_objects, holdings, left_since, resident_kb

from rover_core import procfs
from rover_core.cli import demo
from rover_core.model import Task
from rover_core.testing import this_process

pytestmark = pytest.mark.kernel


def test_a_look_around_with_something_to_see(rover: Any, tmp_path: Path) -> None:
    """Broken: a newcomer on an idle machine sees an empty table, or no file."""
    result = rover("run", "--demo", "--duration", "2")
    assert result.returncode == 0
    assert "Rover starts a small" in result.stderr
    assert "rover-demo" in result.stdout
    assert "samples kept" in result.stdout
    (page,) = (tmp_path / "rover-data").glob("*.html")
    assert f"flame graph: rover-data/{page.name}" in result.stderr


def test_idleness_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: Rover starts work of its own without a word, or as a service."""
    from contextlib import ExitStack

    from rover_core.cli.service import _start_demo

    monkeypatch.setattr(demo, "host_is_idle", lambda: True)
    with ExitStack() as stack:
        _start_demo(stack, None, 0)
        assert capsys.readouterr().err == "", "a service never starts a demo"
        _start_demo(stack, None, 1)
        said = capsys.readouterr().err
        assert said.startswith("This host is idle. So that there is something to see, Rover starts a small ")
        assert len(said.splitlines()) == 1
    monkeypatch.setattr(demo, "host_is_idle", lambda: False)
    with ExitStack() as stack:
        _start_demo(stack, None, 1)
        _start_demo(stack, False, 1)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_ends_in_time_and_keeps_all(number: signal.Signals, begin: Any, tmp_path: Path) -> None:
    """Broken: systemd kills the agent, or the last interval's samples and the files are lost."""
    process = begin("run", "--duration", "0", "--demo", "--set", "profiling.flush_interval=500ms")
    wait_for_line(process, "task started")
    time.sleep(1.2)
    seconds, output, errors = interrupt(process, number)
    print(f"ended after {seconds:.2f} s")
    assert process.returncode == 0, errors
    assert seconds < 5
    assert "samples kept" in output
    (page,) = (tmp_path / "rover-data").glob("*.html")
    assert str(page.name) in errors
    assert "Traceback" not in errors


def test_a_store_that_cannot_be_opened_is_said_and_counted(rover: Any) -> None:
    """Broken: an agent whose disk is read-only seems to keep what it loses."""
    result = rover("run", "--duration", "500ms", "--demo", "--set", "exporter.local.directory=/proc/rover")
    assert result.returncode == 0
    assert "cannot make /proc/rover" in result.stderr
    assert re.search(r"The exporter local lost \d+ samples: \d+ exporter down", result.stderr)


@pytest.mark.parametrize("moment", ["compiling", "profiling"])
def test_kill_leaves_nothing_behind(moment: str, begin: Any, tmp_path: Path) -> None:
    """Broken: after kill -9 programs go on ticking in the kernel, or a child lives on."""
    before = ebpf_objects()
    environment = {**ENVIRONMENT, "TMPDIR": str(tmp_path)}  # where the demo's program is left
    process = begin("run", "--duration", "0", "--demo", env=environment)
    if moment == "compiling":
        until(lambda: len(children(process.pid)) >= 2)  # the demo and the loader (or its probe)
    else:
        wait_for_line(process, "task started")
        assert any(process.pid in holders for holders in ebpf_objects()["prog"].values())
    keys = [procfs.process_key(child) for child in children(process.pid)]
    assert keys
    process.kill()
    process.wait()
    until(lambda: all(key is None or procfs.process_key(key.pid) != key for key in keys))
    until(lambda: not left_since(before))


def test_twenty_tasks_leave_no_trace() -> None:
    """Broken: each start and stop leaves a descriptor, a thread or memory behind, until the agent dies of it."""
    from rover_oncpu.profiler import create
    from rover_oncpu.settings import OnCpuSettings

    def cycle(number: int) -> None:
        profiler.start(Task(str(number), "ON_CPU"), [this_process()])
        profiler.tick()
        assert profiler.stop(str(number)) is not None

    profiler = create(OnCpuSettings())
    for number in range(5):  # caches fill
        cycle(number)
    held, memory = holdings(), [resident_kb()]
    for number in range(20):
        cycle(number)
        memory.append(resident_kb())
    assert holdings() == held
    growth = sorted(after - before for before, after in pairwise(memory))
    assert sum(growth[:-3]) < 2048, "but for tables of symbols, read once whenever a sample needs one"
    profiler.close()


def test_the_agent_stays_small(begin: Any) -> None:
    """Broken: the agent takes more than the 60 MB it promises while it profiles the whole host.

    From its second second on, and for most of the time: while it reads tables of symbols, its first or those of
    whatever else begins to run on this host, it takes a few MB more for a moment.
    """
    process = begin("run", "--duration", "0", "--demo", "--set", "profiling.flush_interval=500ms")
    wait_for_line(process, "task started")
    time.sleep(1)
    figures = []
    for _ in range(8):
        time.sleep(0.5)
        figures.append(resident_kb(process.pid))
    interrupt(process)
    print(f"resident: {figures} kB")
    assert median(figures) <= 60 * 1024, figures
    assert max(figures) <= 72 * 1024, figures


@pytest.mark.parametrize("command", [("doctor",), ("processes",), ("plugins",)])
def test_machine_readable_output_is_nothing_else(command: tuple[str, ...], rover: Any) -> None:
    """Broken: `rover ... --json | jq` fails."""
    result = rover(*command, "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)


def test_doctor_with_and_without_tracefs(rover: Any) -> None:
    """Broken: a host without tracefs cannot be profiled on CPU, or doctor does not say what will be done about it."""
    unmounted = "umount -lR /sys/kernel/tracing /sys/kernel/debug 2>/dev/null; "
    for script, said in (
        (unmounted + 'exec "$@"', "not mounted; Rover mounts it"),
        (unmounted + 'mount -t tracefs tracefs /sys/kernel/tracing && exec "$@"', "/sys/kernel/tracing"),
    ):
        # Network profiling is tried by loading it, which mounts tracefs.
        prefix = ["unshare", "-m", "sh", "-c", script, "sh"]
        result = rover("doctor", prefix=prefix, env={"ROVER_DISABLED_PLUGINS": "network"})
        assert result.returncode == 0, result.stdout
        (line,) = [line for line in result.stdout.splitlines() if "  tracefs " in line]
        assert said in line
