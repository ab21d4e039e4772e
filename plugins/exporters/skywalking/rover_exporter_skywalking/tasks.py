"""Asks the backend for profiling tasks and has them run (contract section 3.3)."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence

from rover_core.api import AgentContext
from rover_core.errors import RoverError
from rover_core.logs import get_logger
from rover_core.model import ProcessKey
from rover_exporter_skywalking.accepted import AcceptedOrders
from rover_exporter_skywalking.backoff import Backoff
from rover_exporter_skywalking.connection import BackendError, Connection
from rover_exporter_skywalking.orders import COMMAND, Order, read_order
from rover_exporter_skywalking.processes import ProcessBook
from rover_exporter_skywalking.protocol.common_pb2 import Command, Commands
from rover_exporter_skywalking.protocol.profiling_pb2 import EBPFProfilingTaskQuery
from rover_exporter_skywalking.rpc import QUERY_TASKS

log = get_logger("skywalking")

_MOST_TASKS = 1000
_REMEMBERED = 1000  # complaints that are not to be repeated with every poll


class TaskPolling:
    """Turns commands into tasks, each once however often it comes.

    latest_ms: the time sent with a query. It only moves up to the oldest command that is still to be taken (its
    processes are not known yet), since the backend sends what is newer and nothing else.
    """

    def __init__(
        self,
        connection: Connection,
        processes: ProcessBook,
        accepted: AcceptedOrders,
        agent_id: str,
        interval_ns: int,
    ) -> None:
        self._connection = connection
        self._processes = processes
        self._accepted = accepted
        self._agent_id = agent_id
        self._interval_s = interval_ns / 1e9
        self._said: dict[str, None] = {}
        self.latest_ms = 0

    async def run(self, context: AgentContext) -> None:
        """For ever."""
        backoff = Backoff(most_s=self._interval_s)
        while True:
            query = EBPFProfilingTaskQuery(roverInstanceId=self._agent_id, latestUpdateTime=self.latest_ms)
            try:
                commands = await self._connection.ask(QUERY_TASKS, query)
            except BackendError:
                await asyncio.sleep(backoff.after_failure())
                continue
            backoff.reset()
            self.obey(commands, context)
            await asyncio.sleep(self._interval_s)

    def obey(self, commands: Commands, context: AgentContext) -> None:
        """Take what can be taken of a reply; the rest of it comes again."""
        taken: list[int] = []
        left: list[int] = []
        for order in self._readable(commands.commands):
            (taken if self._take(order, context) else left).append(order.update_ms)
        oldest_left = min(left, default=None)
        done = [update_ms for update_ms in taken if oldest_left is None or update_ms < oldest_left]
        self.latest_ms = max([self.latest_ms, *done])
        self._accepted.forget_old()

    def _readable(self, commands: Iterable[Command]) -> list[Order]:
        orders = []
        for command in commands:
            try:
                orders.append(read_order(command))
            except (ValueError, RoverError) as error:
                self._complain("command skipped", str(error), command=_name_of(command))
        return orders

    def _take(self, order: Order, context: AgentContext) -> bool:
        """Whether nothing more is to be done about an order: it was accepted, or never will be."""
        if order.end_ns <= time.time_ns():
            return True
        known = self._accepted.find(order.rover_id)
        if known and known.over:
            order = known.continued_by(order)
        elif known:
            if order.end_ns != known.order.end_ns:
                context.submit(self._accepted.prolong(known, order))
            return True
        if order.profiler not in context.profilers:
            plugin = order.profiler.lower().replace("_", "")
            reason = f"no plugin is installed that profiles {order.profiler}; pip install 'rover-agent[{plugin}]'"
            self._complain("task refused", reason, task=order.task_id)
            return True
        processes = self._members(order.process_ids)
        if processes is None:
            return False
        if len(self._accepted) >= _MOST_TASKS:
            self._complain("task refused", f"there are {_MOST_TASKS} already", task=order.task_id)
            return False
        self._replace(order, context)
        context.submit(self._accepted.accept(order, processes))
        return True

    def _members(self, process_ids: Sequence[str]) -> Mapping[ProcessKey, Sequence[str]] | None:
        """The processes behind ids, with the ids of each; None unless all are known."""
        members: dict[ProcessKey, list[str]] = {}
        for process_id in process_ids:
            keys = self._processes.keys_of(process_id)
            if not keys:
                return None
            for key in keys:
                members.setdefault(key, []).append(process_id)
        return members

    def _replace(self, order: Order, context: AgentContext) -> None:
        old = self._accepted.about(order)
        if old:
            log.info("task replaced", task=old.order.task_id, by=order.task_id)
            context.cancel(old.task.id)

    def _complain(self, event: str, reason: str, **names: str) -> None:
        """Once for each reason, not with every poll."""
        key = f"{event} {names} {reason}"
        if key in self._said:
            return
        self._said[key] = None
        while len(self._said) > _REMEMBERED:
            del self._said[next(iter(self._said))]
        log.warning(event, reason=reason, **names)


def _name_of(command: Command) -> str:
    """What tells a command from others in the log."""
    task = next((pair.value for pair in command.args if pair.key == "TaskId"), "")
    name = command.command if command.command == COMMAND else command.command[:60]
    return f"{name} {task[:80]}".strip()
