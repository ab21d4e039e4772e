"""The agent as plugins see it, and who works beside it: sources of tasks and policies, exporters."""

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Protocol

from rover_core.api.observing import Observation, RequestWatch
from rover_core.api.profilers import Batch
from rover_core.model import Loss, Process, Task
from rover_core.policies import Policy, Trigger


class TaskState(StrEnum):
    """OVER: also of tasks that nobody remembers. FAILED: it could not start, or something ended it."""

    WAITING = "waiting"
    RUNNING = "running"
    OVER = "over"
    FAILED = "failed"


class AgentContext(Protocol):
    """The agent as task sources and exporters see it. Only to be used on the agent's event loop."""

    @property
    def processes(self) -> Collection[Process]:
        """The processes found by the last scan."""
        ...

    @property
    def profilers(self) -> Collection[str]:
        """Names of the installed profilers: tasks for others cannot be run."""
        ...

    def find_process(self, pid: int) -> Process | None: ...

    def submit(self, task: Task) -> None:
        """Start a task (now, or at its start time). The same id again replaces the running one."""
        ...

    def cancel(self, task_id: str) -> None:
        """End a task early; what it saw is kept."""
        ...

    def task_state(self, task_id: str) -> TaskState:
        """What became of a task that was submitted."""
        ...

    def publish(self, batch: Batch) -> None:
        """Hand the exporters what no profiler delivers."""
        ...

    async def observe(self, watches: Sequence[RequestWatch]) -> Observation:
        """`ObservingProfiler.observe`, of the profiler that can. Raises RoverError, also where there is none."""
        ...

    def count_lost(self, exporter: str, samples: int, cause: Loss) -> None:
        """So many samples of batches that this exporter had taken were lost after all."""
        ...


class TaskSource(Protocol):
    """Where tasks come from. `run` lives as long as the agent and is cancelled at its end."""

    name: str

    async def run(self, context: AgentContext) -> None: ...


class PolicySource(Protocol):
    """Where continuous profiling's policies come from, and who is told what they began. Used on the event loop."""

    name: str

    @property
    def policies(self) -> Sequence[Policy]:
        """Those in effect, as far as the source knows. Asked for again and again."""
        ...

    async def report(self, trigger: Trigger) -> str:
        """A task is about to be submitted. The id that it is to have: the source's own if that is known in time.

        Should not take longer than a few seconds, since the task waits for it.
        """
        ...


class Exporter(Protocol):
    """Takes results away. Runs on the event loop: what blocks belongs in a thread.

    Each exporter has a bounded queue of its own in front of it, so a slow one loses its own batches (counted as
    `queue full`) and holds up nobody. An `export` that raises counts its batch as `exporter down`. One that keeps
    batches to try again returns, and tells `AgentContext.count_lost` of what it gives up later.
    """

    name: str

    async def start(self, context: AgentContext) -> None:
        """Connect, open. Batches queue meanwhile; one that raises gets none, and is not stopped either."""
        ...

    async def export(self, batch: Batch) -> None: ...

    async def stop(self) -> Sequence[str]:
        """Finish and return what a person would look at: files written, addresses to open. May be empty."""
        ...
