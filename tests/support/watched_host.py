"""A host and policies that tests of continuous profiling move by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rover_core.model import Entity, Process, ProcessKey
from rover_core.policies import Monitor, Policy, Threshold, Uri

SECOND = 1_000_000_000


class Host:
    """A /proc with processes whose CPU time and threads a test sets, in seconds and threads."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def set(self, pid: int, cpu_s: float = 0.0, threads: int = 1, start_ticks: int | None = None) -> ProcessKey:
        start = pid * 10 if start_ticks is None else start_ticks
        fields = [
            "S",
            *["0"] * 10,
            str(round(cpu_s * 100)),
            "0",
            "0",
            "0",
            "20",
            "0",
            str(threads),
            "0",
            str(start),
            "0",
        ]
        folder = self.root / str(pid)
        folder.mkdir(exist_ok=True)
        (folder / "stat").write_text(f"{pid} (a) b) {' '.join(fields)} 0 0 0\n")
        return ProcessKey(pid, start)


def make_process(key: ProcessKey | int, service: str = "shop", labels: tuple[str, ...] = (), **names: str) -> Process:
    key = ProcessKey(key, key * 10) if isinstance(key, int) else key
    entity = Entity("OS_LINUX", service, names.get("instance", "host"), names.get("process", service), labels)
    return Process(key, 1, service, f"/usr/bin/{service}", (service,), 0, entities=(entity,))


def nameless(process: Process) -> Process:
    return replace(process, entities=())


def policy(
    profiler: str, monitor: Monitor, value: float, period_s: int, count: int, *uris: Uri, **more: Any
) -> Policy:
    threshold = Threshold(monitor, value, period_s, count, uris)
    return Policy(more.pop("service", "shop"), {profiler: (threshold,)}, **more)
