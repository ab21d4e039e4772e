"""Tells the backend which processes there are (contract section 3.2)."""

import asyncio
from collections.abc import Iterator, Sequence

from rover_core.api import AgentContext
from rover_core.logs import get_logger
from rover_exporter_skywalking.backoff import Backoff
from rover_exporter_skywalking.connection import BackendError, Connection
from rover_exporter_skywalking.processes import Known, ProcessBook
from rover_exporter_skywalking.protocol.process_pb2 import EBPFProcessPingPkgList, EBPFProcessReportList
from rover_exporter_skywalking.rpc import KEEP_ALIVE, REPORT_PROCESSES
from rover_exporter_skywalking.settings import ReportSettings

log = get_logger("skywalking")

_LOOK_S = 1.0
_AT_ONCE = 500  # processes in a message: with long command lines 2 MB, and backends take 4


class Reporter:
    """Reports new processes as soon as they are found, and all that are there at each heartbeat."""

    def __init__(self, connection: Connection, book: ProcessBook, settings: ReportSettings, agent_id: str) -> None:
        self._connection = connection
        self._book = book
        self._settings = settings
        self._agent_id = agent_id
        self._beat = 0
        self.assigned = asyncio.Event()
        """Set once the backend has given any id: before, it can have no task for this agent."""

    async def run(self, context: AgentContext) -> None:
        """For ever."""
        backoff = Backoff(most_s=self._settings.heartbeat_period / 1e9)
        clock = asyncio.get_running_loop().time
        due_s = clock()
        while True:
            self._book.update(context.processes)
            try:
                if clock() >= due_s:
                    await self._heartbeat()
                    due_s = clock() + self._settings.heartbeat_period / 1e9
                else:
                    await self._report(self._book.unreported(self._beat))
            except BackendError:
                self._book.forget_reports()
                due_s = clock() + backoff.after_failure()
                await asyncio.sleep(due_s - clock())
            else:
                backoff.reset()
                await asyncio.sleep(max(0.0, min(_LOOK_S, due_s - clock())))

    async def _heartbeat(self) -> None:
        """Every so many beats everything is reported; at the others what is known is only said to be alive."""
        self._beat += 1
        everything = self._beat % self._settings.properties_report_period == 0
        reported = self._book.reported()
        await self._report(self._book.all() if everything else self._book.unreported(self._beat))
        if not everything:
            await self._keep_alive(reported)

    async def _report(self, processes: Sequence[Known]) -> None:
        for part in _parts(processes):
            message = EBPFProcessReportList(
                processes=[known.to_report() for known in part], ebpfAgentID=self._agent_id
            )
            self._book.assign(part, await self._connection.ask(REPORT_PROCESSES, message), self._beat)
            if self._book.any_ids:
                self.assigned.set()

    async def _keep_alive(self, processes: Sequence[Known]) -> None:
        for part in _parts(processes):
            message = EBPFProcessPingPkgList(
                processes=[known.to_ping() for known in part], ebpfAgentID=self._agent_id
            )
            await self._connection.ask(KEEP_ALIVE, message)


def _parts(processes: Sequence[Known]) -> Iterator[Sequence[Known]]:
    for start in range(0, len(processes), _AT_ONCE):
        yield processes[start : start + _AT_ONCE]
