"""One measurement: a profiler from its command to its result, with the load in between."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from contenders import Contender
from processtree import MemoryWatch, cpu_seconds

LOAD = "rover-bench-ld"  # at most 15 characters, so that its comm is its name
_READY_S = 60
_END_S = 120


@dataclass(frozen=True, slots=True)
class Work:
    """What the load got done: units, the wall-clock and the CPU seconds it took.

    latencies_us: of those loads that tell, the median and the 99th percentile.
    """

    units: int
    wall_s: float
    cpu_s: float
    latencies_us: tuple[int, ...] = ()

    @property
    def per_second(self) -> float:
        return self.units / self.wall_s

    @property
    def per_cpu_second(self) -> float:
        return self.units / self.cpu_s


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a profiler cost.

    ready_s: from the command until it is attached. CPU seconds of the profiler and
    its children: startup_cpu_s until then, sampling_cpu_s while the load ran, finish_cpu_s from then to the result.
    whole: samples whose stacks reach the start of their thread; moved_bytes: handed from the kernel to the profiler;
    lost: records on that way.
    """

    work: Work
    ready_s: float = 0.0
    startup_cpu_s: float = 0.0
    sampling_cpu_s: float = 0.0
    finish_cpu_s: float = 0.0
    steady_mb: float = 0.0
    peak_mb: float = 0.0
    samples: int = 0
    expected: float = 0.0
    whole: int = 0
    moved_bytes: int = 0
    lost: int = 0
    shared_once_mb: float = 0.0


def build_load(folder: Path, source: str, *flags: str) -> list[str]:
    """The command of a C program beside this, with frame pointers if flags do not say otherwise."""
    program = folder / LOAD
    flags = flags or ("-O1", "-fno-omit-frame-pointer")
    always = ["-g", "-fno-optimize-sibling-calls", "-pthread"]
    subprocess.run(["gcc", *always, *flags, "-o", program, Path(__file__).with_name(source)], check=True)
    return [str(program)]


def run_load(command: Sequence[str], duration_s: float) -> Work:
    result = subprocess.run([*command, str(round(duration_s * 1000))], capture_output=True, text=True, check=True)
    units, wall_ns, cpu_ns, *latencies_us = map(int, result.stdout.split())
    return Work(units, wall_ns / 1e9, cpu_ns / 1e9, tuple(latencies_us))


def measure(contender: Contender | None, load: Sequence[str], duration_s: float, folder: Path) -> Measurement:
    """None: nothing is attached. RuntimeError, with the profiler's last words, if it does not work."""
    if contender is None:
        return Measurement(run_load(load, duration_s))
    output = folder / "output"
    with output.open("wb") as out, (folder / "errors").open("wb") as errors:
        stdout = out if contender.to_stdout else subprocess.DEVNULL
        environment = os.environ | dict(contender.environment)
        begun_s = time.monotonic()
        profiler = subprocess.Popen(contender.command, stdout=stdout, stderr=errors, env=environment, cwd=folder)
        watch = MemoryWatch(profiler.pid)
        try:
            _wait_until_ready(profiler, folder, contender.ready)
            ready_s, startup = time.monotonic() - begun_s, cpu_seconds(profiler.pid)
            work = run_load(load, duration_s)
            sampled = cpu_seconds(profiler.pid)
            watch.mark_steady()
            moved = contender.moved(profiler.pid)
            total = _finish(profiler)
        finally:
            watch.stop()
            if profiler.returncode is None:
                profiler.kill()
                profiler.wait()
    if contender.then:
        before = os.times()
        with output.open("wb") as out:
            subprocess.run(contender.then, stdout=out, stderr=subprocess.DEVNULL, check=True)
        total += os.times().children_user + os.times().children_system - before[2] - before[3]
    samples = contender.count(output, LOAD)
    return Measurement(
        *(work, ready_s, startup, sampled - startup, max(0.0, total - sampled), watch.steady_mb, watch.peak_mb),
        *(samples, work.cpu_s * contender.frequency, contender.whole(output, LOAD), moved),
        *(contender.lost(output), watch.shared_once_mb),
    )


def _wait_until_ready(profiler: subprocess.Popen[bytes], folder: Path, ready: Callable[[int], bool]) -> None:
    """Twice in a row, because perf tries events out and closes them before it opens those that it samples with."""
    seen, give_up_s = 0, time.monotonic() + _READY_S
    while seen < 2:
        if profiler.poll() is not None or time.monotonic() > give_up_s:
            words = (folder / "errors").read_text(errors="replace").strip()
            raise RuntimeError(f"{profiler.args[0]} did not begin: {words[-300:] or 'no message'}")  # type: ignore[index]
        seen = seen + 1 if ready(profiler.pid) else 0
        time.sleep(0.01)


def _finish(profiler: subprocess.Popen[bytes]) -> float:
    """Interrupt it and wait. Its CPU seconds, children included."""
    time.sleep(0.1)  # the load's last samples
    profiler.send_signal(signal.SIGINT)
    give_up_s = time.monotonic() + _END_S
    while time.monotonic() < give_up_s:
        pid, status, usage = os.wait4(profiler.pid, os.WNOHANG)
        if pid:
            profiler.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_utime + usage.ru_stime
        time.sleep(0.02)
    raise RuntimeError(f"{profiler.args[0]} did not end within {_END_S} s")  # type: ignore[index]
