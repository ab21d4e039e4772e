"""What watching 500 processes costs: part of `make bench`.

A real agent watches them for CPU time and threads, at one fetch a second; the same agent without a policy runs beside
it, and so do `pidstat` and `top`, asked for as often about the same processes. What counts is the difference between
the two agents, as a share of one processor, and its ratio to the others.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from processtree import MemoryWatch, cpu_seconds

_COUNT = 500
_PROGRAM = Path(__file__).parents[1] / "programs" / "many_processes.c"
_NAME = "rover-watched"
_ROVER = Path(sys.executable).with_name("rover")
_SETTLE_S = 15  # start-up, and what it needed given back
_SERVICE = """
plugins: {{disabled: {disabled}}}
logger: {{level: WARNING}}
process_discovery:
  scanner: {{mode: REGEX, regex: [{{match_cmd: 'sleep 600', service_name: watched}}]}}
exporter: {{local: {{directory: {folder}}}}}
profiling:
  continuous:
    policies:
      - service_name: {service}
        profiling:
          ON_CPU: {{PROCESS_CPU: {{threshold: 90, period: 10, count: 8}}}}
          OFF_CPU: {{PROCESS_THREAD_COUNT: {{threshold: 100, period: 10, count: 8}}}}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--duration", type=float, default=60, help="seconds of measuring (default 60)")
    parser.add_argument("--quick", action="store_true", help="5 seconds: does it work?")
    parser.add_argument("--json", action="store_true", help="for programs")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="rover-bench-") as name:
        folder = Path(name)
        with _processes(folder) as pids:
            result = _measure(folder, pids, 5 if options.quick else options.duration)
    print(json.dumps(result, indent=2) if options.json else "\n".join(_report(result)))
    return 0


@contextmanager
def _processes(folder: Path) -> Iterator[list[int]]:
    """The pids of those that are to be watched."""
    program = folder / _NAME
    subprocess.run(["gcc", "-O1", "-o", program, _PROGRAM], check=True)
    parent = subprocess.Popen([program, str(_COUNT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert parent.stdout is not None
        parent.stdout.readline()
        yield _children(parent.pid)
    finally:
        parent.kill()
        parent.communicate()


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _commands(folder: Path, pids: Sequence[int]) -> dict[str, list[str]]:
    listed = ",".join(map(str, pids))
    commands = {}
    for kind, service in (("Rover, watching", "watched"), ("Rover, watching nothing", "none")):
        file = folder / f"{service}.yaml"
        file.write_text(_SERVICE.format(disabled="network", service=service, folder=folder / service))
        commands[kind] = [str(_ROVER), "run", "-c", str(file)]
    commands["pidstat -u -p ... 1"] = ["pidstat", "-u", "-p", listed, "1"]
    commands["top -b -d 1"] = ["top", "-b", "-d", "1"]
    return commands


def _measure(folder: Path, pids: Sequence[int], duration_s: float) -> dict[str, dict[str, float]]:
    """By contender: share of one processor in percent, and resident MB. All at the same time."""
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in _commands(folder, pids).items():
            with (folder / "errors").open("ab") as errors:
                running[name] = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, cwd=folder)
        time.sleep(_SETTLE_S)
        before, began_s = {name: cpu_seconds(each.pid) for name, each in running.items()}, time.monotonic()
        time.sleep(duration_s)
        spent = {name: cpu_seconds(each.pid) - before[name] for name, each in running.items()}
        took_s = time.monotonic() - began_s
        for name, each in running.items():
            if each.poll() is not None:
                raise RuntimeError(f"{name} ended: {(folder / 'errors').read_text()[-300:]}")
        return {
            name: {"cpu_percent": 100 * spent[name] / took_s, "resident_mb": _resident_mb(each.pid)}
            for name, each in running.items()
        }
    finally:
        for each in running.values():
            each.send_signal(signal.SIGINT)
        for each in running.values():
            each.wait(timeout=30)


def _resident_mb(pid: int) -> float:
    watch = MemoryWatch(pid)
    try:
        return watch.look()
    finally:
        watch.stop()


def _report(result: dict[str, dict[str, float]]) -> list[str]:
    first, second, *_ = result.values()
    more, mb = first["cpu_percent"] - second["cpu_percent"], first["resident_mb"] - second["resident_mb"]
    lines = [f"{time.strftime('%Y-%m-%d')}; {_COUNT} processes, one look a second; {os.cpu_count()} processors", ""]
    lines += ["| | % of a processor | resident MB |", "|---|---:|---:|"]
    lines += [f"| {name} | {each['cpu_percent']:.2f} | {each['resident_mb']:.1f} |" for name, each in result.items()]
    others = [each["cpu_percent"] / more for each in list(result.values())[2:] if more > 0]
    lines += ["", f"Watching takes {more:.2f} % of one processor and {mb:.1f} MB more."]
    return [*lines, f"pidstat takes {others[0]:.1f} times that, top {others[1]:.1f} times."] if others else lines


if __name__ == "__main__":
    raise SystemExit(main())
