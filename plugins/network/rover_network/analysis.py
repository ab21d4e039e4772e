"""Layer 7 of the profiler: its workers, from the first task to the last, and what they find."""

from collections.abc import Sequence
from typing import Any

from rover_core.api import WireProtocol
from rover_core.logs import get_logger
from rover_core.model import Loss
from rover_network.capture import MOST_PROTOCOLS, Layer7
from rover_network.counter import Counted, NetworkCounter
from rover_network.operations import FlowOf, Found, check, put_together
from rover_network.settings import ProtocolAnalyzeSettings
from rover_network.workers import Report, Workers, describe

_TALLIES = {
    "calls_seen": "calls seen",
    "calls_asked": "calls shown to classifiers",
    "classified": "connections recognised",
    "calls_shipped": "calls captured",
    "ring_full": "records lost, ring full",
}
log = get_logger("network")


class Analysis:
    """Nothing, and at no cost, where there are no protocols. missing: name of a protocol that is not read -> why."""

    def __init__(self, protocols: Sequence[WireProtocol], settings: ProtocolAnalyzeSettings) -> None:
        self.missing: dict[str, str] = {}
        self._settings = settings
        self._orders: list[dict[str, Any]] = []
        self.protocols: list[WireProtocol] = []
        for protocol in protocols:
            try:
                if len(self.protocols) == MOST_PROTOCOLS:
                    raise ValueError(f"there are more than {MOST_PROTOCOLS} protocols")
                self._orders.append(describe(protocol))
                self.protocols.append(protocol)
            except ValueError as error:
                self.missing[protocol.name] = str(error)
        self._workers: Workers | None = None
        self._reports: list[Report] = []

    @property
    def layer7(self) -> Layer7:
        return Layer7(self.protocols, self._settings.parallels, self._settings.per_cpu_buffer)

    @property
    def pids(self) -> list[int]:
        """Of the worker processes."""
        return self._workers.pids if self._workers else []

    def start(self, counter: NetworkCounter) -> None:
        """Have the rings of a loaded program read."""
        self.missing.update(counter.capture.missing)
        for name, why in self.missing.items():
            log.warning("not recognised", protocol=name, reason=why)
        if not counter.capture.rings:
            return
        orders = [None, *self._orders]
        settings = self._settings
        self._workers = Workers(counter.capture.rings, orders, settings.queue_size, counter.capture.shipped)
        self._workers.wait()

    def gather(self, counter: NetworkCounter) -> None:
        """Take what the workers have found, before they hold too much of it."""
        if self._workers is None:
            return
        for number, report in self._workers.report():
            try:
                check(report, len(self.protocols))
            except ValueError as error:
                self._workers.end(number, str(error))
                continue
            self._reports.append(report)
            for inode, tgid, peer in report["again"]:
                counter.ask_again((inode, tgid, peer))

    def put_together(self, counted: Counted, flow_of: FlowOf) -> Found:
        """All that was gathered since the last time, and what became of it on the way."""
        reports, self._reports = self._reports, []
        found = put_together(reports, self.protocols, flow_of)
        steps = {name: counted.tally[tally] for tally, name in _TALLIES.items()} | dict(found.steps)
        losses = dict(found.losses)
        _add(losses, Loss.RING_FULL, counted.tally["ring_full"])
        _add(losses, Loss.PROCESS_GONE, found.homeless)
        if self._workers:
            steps["workers replaced"], steps["records lost, worker ended"] = self._workers.take_losses()
            _add(losses, Loss.WORKER_ENDED, steps["records lost, worker ended"])
        return found._replace(steps=steps, losses=losses)

    def close(self) -> None:
        if self._workers:
            self._workers.close()
            self._workers = None
        self._reports = []


def _add(losses: dict[tuple[int, str], int], cause: Loss, count: int) -> None:
    """Of anybody."""
    if count:
        losses[0, cause] = losses.get((0, cause), 0) + count
