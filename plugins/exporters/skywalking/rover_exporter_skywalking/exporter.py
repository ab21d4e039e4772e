"""Delivers what tasks of the backend saw, and keeps it while that is not possible."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from rover_core.api import AgentContext, Batch
from rover_core.logs import get_logger
from rover_core.model import Loss, Profile, Telemetry
from rover_exporter_skywalking.accepted import AcceptedOrders
from rover_exporter_skywalking.backoff import Backoff
from rover_exporter_skywalking.connection import BackendError, Connection
from rover_exporter_skywalking.meters import to_parcel
from rover_exporter_skywalking.outbox import Outbox, Parcel
from rover_exporter_skywalking.processes import ProcessBook
from rover_exporter_skywalking.profiles import to_parcels
from rover_exporter_skywalking.sampled import to_parcels as sampled_parcels
from rover_exporter_skywalking.triggered import TriggeredTasks

log = get_logger("skywalking")

NAME = "skywalking"
_STREAM = 1 << 20  # bytes sent at a time
_STOP_WITHIN_S = 2.0  # of the 2.5 that the agent gives exporters, so that what is lost is still counted


class BackendExporter:
    """`export` only puts into the outbox; a task of its own sends, so a slow backend holds up nobody."""

    name = NAME

    def __init__(
        self,
        connection: Connection,
        processes: ProcessBook,
        accepted: AcceptedOrders,
        triggered: TriggeredTasks,
        room: int,
    ) -> None:
        self._connection = connection
        self._processes = processes
        self._accepted = accepted
        self._triggered = triggered
        triggered.deliver, triggered.lost = self.export, self._count_lost
        self._outbox = Outbox(room, self._count_lost)
        self._context: AgentContext | None = None
        self._sender: asyncio.Task[None] | None = None
        self._in_hand: list[Parcel] = []
        self._dropping = False

    async def start(self, context: AgentContext) -> None:
        self._context = context
        self._sender = asyncio.create_task(self._keep_sending(), name="skywalking uploads")

    async def export(self, batch: Batch) -> None:
        """Take a profile of a task that the backend ordered or knows of, or anyone's meters and sampled exchanges."""
        if isinstance(batch, Profile):
            accepted = self._accepted.find(batch.task_id)
            if accepted is None:
                self._triggered.hold(batch)
                return
            parcels, lost = await asyncio.to_thread(to_parcels, batch, accepted)
            if batch.last:
                accepted.finish()
        else:
            parcels, lost = self._packed(batch)
        for cause, samples in lost.items():
            self._count_lost(samples, cause)
        self._outbox.put(parcels)

    def _packed(self, telemetry: Telemetry) -> tuple[list[Parcel], dict[Loss, int]]:
        """Meters, logs and events. What was sampled is among the events that meters count, so it counts once."""
        meters, lost = to_parcel(telemetry, self._processes)
        sampled = sampled_parcels(telemetry, self._processes)
        logged = sum(parcel.kept for parcel in sampled)
        return [*([replace(meters, kept=max(0, meters.kept - logged))] if meters else []), *sampled], lost

    async def stop(self) -> Sequence[str]:
        """Send what is left, if the backend is there."""
        await self._triggered.stop()
        await self._end_sender()
        try:
            async with asyncio.timeout(_STOP_WITHIN_S):
                while len(self._outbox):
                    await self._send_some()
        except (BackendError, TimeoutError):
            pass
        self._outbox.put(self._in_hand)
        self._outbox.give_up(self._outbox.clear(), Loss.EXPORTER_DOWN)
        await self._connection.close()
        return []

    async def _end_sender(self) -> None:
        if self._sender:
            self._sender.cancel()
            await asyncio.wait({self._sender})
        self._outbox.give_back(self._in_hand, behind=False)
        self._in_hand = []

    async def _keep_sending(self) -> None:
        backoff = Backoff()
        while True:
            await self._outbox.filled()
            try:
                await self._send_some()
            except BackendError:
                await asyncio.sleep(backoff.after_failure())
            else:
                backoff.reset()

    async def _send_some(self) -> None:
        """One stream. Raises BackendError; what was not delivered is in the outbox again, unless it was refused."""
        self._in_hand = self._outbox.take(_STREAM)
        messages = [message for parcel in self._in_hand for message in parcel.messages]
        try:
            await self._connection.send(self._in_hand[0].rpc, messages)
        except BackendError as error:
            in_hand, self._in_hand = self._in_hand, []
            if error.refused:
                log.error("backend refused data", reason=error.why)
                self._outbox.give_up(in_hand, Loss.EXPORTER_DOWN)
            else:
                self._outbox.give_back(in_hand, behind=not error.away)
            raise
        self._in_hand = []
        self._dropping = False

    def _count_lost(self, samples: int, cause: Loss) -> None:
        if cause is Loss.QUEUE_FULL and not self._dropping:  # once per outage
            log.warning("unsent data dropped", reason="core.backend.buffer is full; the oldest goes first")
            self._dropping = True
        if self._context and samples:
            self._context.count_lost(self.name, samples, cause)
