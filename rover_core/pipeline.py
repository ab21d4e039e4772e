"""From profilers to exporters: a bounded queue and a worker for each exporter."""

import asyncio
from collections.abc import Sequence

from rover_core.api import AgentContext, Batch, Exporter
from rover_core.ledger import Ledger
from rover_core.logs import get_logger
from rover_core.model import Loss

log = get_logger("pipeline")

_CANCEL_WITHIN_S = 0.2  # for an exporter that does not let itself be cancelled


class Pipeline:
    """Hands every batch to every exporter. Publishing never waits: a full queue drops the batch and counts it."""

    def __init__(self, exporters: Sequence[Exporter], ledger: Ledger, queue_size: int) -> None:
        self._ledger = ledger
        self._lanes = [_Lane(exporter, ledger, queue_size) for exporter in exporters]

    def start(self, context: AgentContext) -> None:
        """Start the exporters, without waiting for them: batches queue meanwhile.

        One that cannot start is logged and left out; its batches count as lost.
        """
        for lane in self._lanes:
            lane.start(context)

    def publish(self, batch: Batch) -> None:
        self._ledger.profiled(batch.profiler, batch.completeness)
        for lane in self._lanes:
            lane.put(batch)

    async def stop(self, timeout_s: float) -> list[str]:
        """Deliver what is queued and stop, all within timeout_s. Returns what the exporters want a person to see."""
        results = await asyncio.gather(*(lane.stop(timeout_s) for lane in self._lanes))
        return [line for lines in results for line in lines]

    def hurry(self, timeout_s: float) -> None:
        """Shorten the time that a `stop` under way may take."""
        for lane in self._lanes:
            lane.hurry(timeout_s)


class _Lane:
    """One exporter, its queue and its worker."""

    def __init__(self, exporter: Exporter, ledger: Ledger, queue_size: int) -> None:
        self._exporter = exporter
        self._ledger = ledger
        self._queue: asyncio.Queue[Batch] = asyncio.Queue(queue_size)
        self._worker: asyncio.Task[None] | None = None
        self._started = asyncio.Event()
        self._down = False
        self._in_hand: Batch | None = None
        self._complaining = False
        self._timeout: asyncio.Timeout | None = None

    def start(self, context: AgentContext) -> None:
        self._worker = asyncio.create_task(self._work(context), name=f"exporter {self._exporter.name}")

    async def _work(self, context: AgentContext) -> None:
        try:
            await self._exporter.start(context)
        except Exception as error:  # a plugin's, whatever it is: the others go on  # noqa: BLE001
            log.error("exporter did not start", exporter=self._exporter.name, reason=str(error))
            self._count_leftovers()
        self._started.set()
        while not self._down:
            await self._export(await self._queue.get())

    def put(self, batch: Batch) -> None:
        if self._worker is None or self._down:
            return self._drop(batch, Loss.EXPORTER_DOWN)
        try:
            self._queue.put_nowait(batch)
        except asyncio.QueueFull:
            self._drop(batch, Loss.QUEUE_FULL)

    def _drop(self, batch: Batch, cause: Loss) -> None:
        self._ledger.dropped(self._exporter.name, batch.completeness.kept, cause)

    async def _export(self, batch: Batch) -> None:
        self._in_hand = batch
        try:
            await self._exporter.export(batch)
        except Exception as error:  # a plugin's, whatever it is: later batches may fare better  # noqa: BLE001
            self._drop(batch, Loss.EXPORTER_DOWN)
            if not self._complaining:  # once per outage, not once per batch
                log.warning("exporter failed", exporter=self._exporter.name, reason=str(error))
            self._complaining = True
        else:
            self._complaining = False
            self._ledger.delivered(self._exporter.name, batch.completeness.kept)
        self._in_hand = None
        self._queue.task_done()

    async def stop(self, timeout_s: float) -> Sequence[str]:
        if self._worker is None or self._down:
            return []
        try:
            async with asyncio.timeout(timeout_s) as self._timeout:
                return await self._finish()
        except TimeoutError:
            log.error("exporter did not finish in time", exporter=self._exporter.name)
        except Exception as error:  # a plugin's, whatever it is: others' results still count  # noqa: BLE001
            log.error("exporter did not stop cleanly", exporter=self._exporter.name, reason=str(error))
        finally:
            self._timeout = None
            self._count_leftovers()
            self._worker.cancel()
            await asyncio.wait({self._worker}, timeout=_CANCEL_WITHIN_S)
        return []

    async def _finish(self) -> Sequence[str]:
        await self._started.wait()
        if self._down:
            return []
        await self._queue.join()
        return await self._exporter.stop()

    def hurry(self, timeout_s: float) -> None:
        if self._timeout:
            due_s = asyncio.get_running_loop().time() + timeout_s
            self._timeout.reschedule(min(due_s, self._timeout.when() or due_s))

    def _count_leftovers(self) -> None:
        self._down = True  # whatever comes now is lost as well
        leftovers = [self._in_hand] if self._in_hand else []
        while not self._queue.empty():
            leftovers.append(self._queue.get_nowait())
        for batch in leftovers:
            self._drop(batch, Loss.EXPORTER_DOWN)
