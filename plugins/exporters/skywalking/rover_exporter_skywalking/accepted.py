"""The orders that became tasks: what an upload needs to know of them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rover_core.model import ProcessKey, Task
from rover_exporter_skywalking.orders import Order
from rover_exporter_skywalking.stacks import StackIds

TRIGGER = "skywalking"
_LINGER_NS = 300_000_000_000  # how long after its end a task's last data may still come


@dataclass(slots=True)
class Accepted:
    """An order and its task.

    processes: the backend's ids of each process; several pids may share one. started_ms: of the first data, since the
    backend keeps together what has the same start; uploaded_ms: the time of the last data, which must grow, since the
    backend takes data with equal stacks and equal times for one.
    """

    order: Order
    task: Task
    processes: Mapping[ProcessKey, Sequence[str]]
    stacks: StackIds = field(default_factory=StackIds)
    started_ms: int = 0
    uploaded_ms: int = 0

    @property
    def over(self) -> bool:
        """Its time is up, whatever became of it."""
        return self.order.end_ns <= time.time_ns()

    def continued_by(self, order: Order) -> Order:
        """An order that prolongs this one says nothing of sampling: what was said stays (contract section 3.3)."""
        return replace(order, sampling=order.sampling or self.order.sampling)

    def finish(self) -> None:
        """Its last data is packed."""
        self.stacks = StackIds()

    def times(self, start_ns: int, end_ns: int) -> tuple[int, int]:
        """The task's start and the time of the data that ends at end_ns, in ms."""
        self.started_ms = self.started_ms or start_ns // 1_000_000
        self.uploaded_ms = max(end_ns // 1_000_000, self.uploaded_ms + 1)
        return self.started_ms, self.uploaded_ms


class AcceptedOrders:
    """By the task's id in Rover."""

    def __init__(self) -> None:
        self._by_id: dict[str, Accepted] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, rover_id: str) -> Accepted | None:
        return self._by_id.get(rover_id)

    def about(self, order: Order) -> Accepted | None:
        """A task of another id about the same processes whose time is not up, which this order is to replace."""
        others = (each for each in self._by_id.values() if each.order.subject == order.subject and not each.over)
        return next((each for each in others if each.order.task_id != order.task_id), None)

    def accept(self, order: Order, processes: Mapping[ProcessKey, Sequence[str]]) -> Task:
        """The task to submit. It ends when the backend said, however late it came."""
        start_ns = max(order.start_ns, time.time_ns())
        task = Task(
            order.rover_id,
            order.profiler,
            tuple(processes),
            start_ns=order.start_ns,
            duration_ns=order.end_ns - start_ns,
            settings={"sampling": order.sampling} if order.sampling else {},
            trigger=TRIGGER,
        )
        self._by_id[task.id] = Accepted(order, task, processes)
        return task

    def add(self, rover_id: str, accepted: Accepted) -> None:
        """A task that was begun here, and that the backend has been told of."""
        self._by_id[rover_id] = accepted

    def prolong(self, known: Accepted, order: Order) -> Task:
        """The task to submit: the same one, with another end."""
        duration_ns = (known.task.duration_ns or 0) + order.end_ns - known.order.end_ns
        known.task = replace(known.task, duration_ns=max(0, duration_ns))
        known.order = known.continued_by(order)
        return known.task

    def forget(self, rover_id: str) -> None:
        self._by_id.pop(rover_id, None)

    def forget_old(self) -> None:
        """Tasks that are over for good, and delivered nothing that said so."""
        due_ns = time.time_ns() - _LINGER_NS
        self._by_id = {key: each for key, each in self._by_id.items() if each.order.end_ns > due_ns}
