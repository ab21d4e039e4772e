"""Who profiles them."""

from collections.abc import Collection, Sequence
from typing import Protocol, runtime_checkable

from rover_core.model import Process, ProcessKey, Profile, Task, Telemetry

Batch = Profile | Telemetry
"""What profilers deliver and exporters take. An exporter ignores what it has no use for."""


class Profiler(Protocol):
    """Runs any number of tasks of one kind.

    All methods are called from one worker thread, never two at a time, so they may block for as long as a
    compilation takes. What they raise (`RoverError`) ends that task with the reason, not the agent.
    """

    name: str

    @property
    def flush_interval_ns(self) -> int | None:
        """Time between drains; None for `profiling.flush_interval`."""
        ...

    def start(self, task: Task, processes: Sequence[Process] | None) -> None:
        """Begin. processes is None for a task about every process of the host."""
        ...

    def forget(self, task_id: str, process: ProcessKey) -> None:
        """A process of a running task has exited; what was seen of it comes with the next drain."""
        ...

    def tick(self) -> None:
        """Called about five times a second while a task runs, for what cannot wait until the next drain."""
        ...

    def drain(self) -> Sequence[Batch]:
        """What each running task saw since the last drain: one batch a task, empty ones included."""
        ...

    def stop(self, task_id: str) -> Batch | None:
        """End a task and return its last batch, marked as such; None if no such task runs."""
        ...

    def close(self) -> None:
        """Release everything held in the kernel. Tasks still running are over."""
        ...


@runtime_checkable
class InformedProfiler(Profiler, Protocol):
    """A profiler that wants to know all processes of the host and their entities, not only those of its tasks."""

    def inform(self, processes: Collection[Process]) -> None:
        """What discovery has found, before a task starts and whenever it has looked again."""
        ...
