"""Layer 7 of the profiler: its workers, from the first task to the last, and what they find."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rover_bpf.maps import Array
from rover_core.api import RequestSums, RequestWatch, WireProtocol
from rover_core.errors import RoverError
from rover_core.logs import get_logger
from rover_core.model import Loss, Sample, SamplingRule
from rover_network.capture import MOST_PROTOCOLS, Layer7
from rover_network.counting import Counted, Counter
from rover_network.fastpath import Names, OperationNames, told
from rover_network.ladder import in_order
from rover_network.operations import FlowOf, Found, Row, check, put_together
from rover_network.recorder import Recorder
from rover_network.rulebook import content_size
from rover_network.samplewords import rules_told, samples_read
from rover_network.sampling import Taken
from rover_network.settings import ProtocolAnalyzeSettings, SamplingSettings
from rover_network.watching import sums_read, watches_told
from rover_network.workerprocess import Report
from rover_network.workers import Workers, describe

_TALLIES = {
    "calls_seen": "calls seen",
    "calls_asked": "calls shown to classifiers",
    "classified": "connections recognised",
    "calls_shipped": "calls captured",
    "ring_full": "records lost, ring full",
    "tls_homeless": "TLS calls, socket not known",
    "passed_over": "datagrams left out",
}
Rules = Sequence[SamplingRule]
log = get_logger("network")


class Analysis:
    """Nothing, and at no cost, where there are no protocols. missing: name of a protocol that is not read -> why.
    slow: of one whose fast path cannot be had -> why.

    recorder: what records are copied to. offset_ns: as for `Sampler`.
    """

    def __init__(
        self,
        protocols: Sequence[WireProtocol],
        settings: ProtocolAnalyzeSettings,
        sampling: SamplingSettings,
        recorder: Recorder | None = None,
        offset_ns: int | None = None,
    ) -> None:
        self._recorder = recorder
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
        self._late: list[Row] = []
        self._sampling = {
            "headers": sampling.secret_headers,
            "parameters": sampling.secret_parameters,
            "encodings": sampling.encodings,
            "offset_ns": offset_ns,
        }
        self._samples: list[Taken[tuple[int, ...]]] = []
        self._late_samples: list[Taken[tuple[int, ...]]] = []
        self._names = OperationNames()
        self.slow: dict[str, str] = {}
        self._watched: list[RequestSums] = []
        self._sampled: Collection[int] | None = ()
        self._observed: Collection[int] = ()

    @property
    def layer7(self) -> Layer7:
        settings = self._settings
        fast = settings.fast_path and not self._recorder  # what the kernel counts itself is in no record
        return Layer7(self.protocols, settings.parallels, settings.per_cpu_buffer, fast)

    @property
    def pids(self) -> list[int]:
        """Of the worker processes."""
        return self._workers.pids if self._workers else []

    @property
    def processes(self) -> set[int]:
        """Pids of all that run for this."""
        nursery = self._workers.nursery if self._workers else None
        return {*self.pids, *([nursery] if nursery else [])}

    def start(self, counter: Counter) -> None:
        """Have the rings of a loaded program read."""
        self.missing.update(counter.capture.missing)
        for name, why in self.missing.items():
            log.warning("not recognised", protocol=name, reason=why)
        self.slow = dict(counter.capture.slow)
        for name, why in self.slow.items():
            log.warning("not counted in the kernel", protocol=name, reason=why)
        feeds = counter.capture.feeds
        if self._recorder:
            self._recorder.begin(self.protocols, counter, self.missing)
            counter.capture.capture_content(self._recorder.content)
        if not feeds:
            return
        orders = [None, *self._orders]
        recording = self._recorder.fd if self._recorder else None
        queue_size, shipped = self._settings.queue_size, counter.capture.shipped
        self._workers = Workers(feeds, orders, queue_size, shipped, self._sampling, recording)
        self._workers.wait()

    def sample(self, counter: Counter, tasks: Mapping[str, tuple[Rules, Collection[int] | None]]) -> None:
        """What is to be sampled from now on: rules by task, and of which pids; None for every process."""
        if self._workers is None:
            return
        pids = [pids for _, pids in tasks.values()]
        self._sampled = None if None in pids else {pid for each in pids for pid in each or ()}
        self._parse(counter)
        wanted = content_size(rule for rules, _ in tasks.values() for rule in rules)
        counter.capture.capture_content(max(wanted, self._recorder.content if self._recorder else 0))
        words = [
            [task_id, rules_told(rules), None if pids is None else sorted(pids)]
            for task_id, (rules, pids) in tasks.items()
        ]
        self._workers.assign(words)
        self.gather(counter)  # they answer once they know: what comes from now on is sampled

    def watch(self, counter: Counter, watches: Sequence[RequestWatch], alone: bool) -> None:
        """What requests are added up from now on. alone: no task wants to know anything else.

        Raises RoverError for a protocol that is not read here.
        """
        names = {each.protocol for each in watches}
        numbers = {
            each.name: number for number, each in enumerate(self.protocols, 1) if each.name not in self.missing
        }
        if unread := names - numbers.keys():
            why = "; ".join(self.missing.get(name, f"no plugin reads {name}") for name in sorted(unread))
            remedy = f"pip install 'rover-agent[{','.join(sorted(unread))}]', or see `rover plugins`"
            raise RoverError("requests cannot be watched", why=why, remedy=remedy)
        if self._workers:
            self._observed = {pid for each in watches for pid in each.pids}
            self._parse(counter)
            counter.capture.capture_only(names if alone else None)
            self._workers.watch(watches_told(watches, numbers), alone)
            self.gather(counter)  # they answer once they know: what comes from now on is added up

    def _parse(self, counter: Counter) -> None:
        """Whose exchanges the kernel is not to count itself, since each is looked at."""
        if counter.capture.fast:
            counter.capture.fast.parse(None if self._sampled is None else {*self._sampled, *self._observed})

    def take_watched(self) -> list[RequestSums]:
        """What was added up since the last time."""
        taken, self._watched = self._watched, []
        return taken

    def take_samples(self, flow_of: FlowOf) -> Iterator[tuple[str, Sample]]:
        """What was gathered since the last time, with its task's id."""
        taken, self._samples = self._samples, []
        late, self._late_samples = self._late_samples, []
        for is_late, sample in (*((True, each) for each in late), *((False, each) for each in taken)):
            task_id, (inode, tgid, peer, client, _), exchange = sample
            flow = flow_of((inode, tgid, peer))
            if flow is None and not is_late:
                self._late_samples.append(sample)
            elif flow:
                key = replace(flow.key, role="client" if client else "server")
                yield task_id, Sample(key, flow.address, replace(exchange, ssl=flow.ssl))

    def gather(self, counter: Counter) -> None:
        """Take what the workers have found, before they hold too much of it."""
        if self._workers is None:
            return
        ended = self._workers.restarts
        for number, report in self._workers.report():
            try:
                check(report, len(self.protocols))
                self._samples += samples_read(report["samples"])
                self._watched += sums_read(report["watched"])
            except ValueError as error:
                self._workers.end(number, str(error))
                continue
            self._reports.append(report)
            self._learn(counter, {operation: (kind, name) for operation, kind, name in report["learned"]})
            for inode, tgid, peer, protocol in report["again"]:
                if protocol:
                    counter.rename((inode, tgid, peer), protocol)
                else:
                    counter.ask_again((inode, tgid, peer))
        if self._workers.restarts != ended and counter.capture.fast:  # what it knew the names of nobody knows now
            counter.capture.fast.forget(self._names.unknown(counter.capture.fast.operations))

    def _learn(self, counter: Counter, names: Names) -> None:
        if names and self._workers and counter.capture.fast:
            fresh = self._names.learn(names)
            counter.capture.fast.forget(self._names.shrink())
            self._workers.know(fresh, self._names.all)

    def _told(self, counter: Counter, keys: Array, rows: Array) -> Report:
        """What was counted in the kernel, as a worker would tell it."""
        operations = keys["operation"].tolist()
        if counter.capture.fast and self._names.unknown(operations):
            self.gather(counter)  # each has been read by a parser before it was counted
            counter.capture.fast.forget(self._names.unknown(operations))
        found = list(told(keys, rows, self.protocols, self._names))
        steps = {"exchanges counted in the kernel": sum(row[8] for row in found)}
        return {"rows": found, "losses": [], "steps": steps}

    def put_together(self, counter: Counter, counted: Counted, flow_of: FlowOf) -> Found:
        """All that was gathered since the last time, and what became of it on the way."""
        if counted.exchanges:
            in_kernel = self._told(counter, *counted.exchanges)  # which may gather more reports
            self._reports.append(in_kernel)
        reports, self._reports = self._reports, []
        found = put_together(reports, self.protocols, flow_of, self._late)
        self._late = found.waiting
        steps = {name: counted.tally[tally] for tally, name in _TALLIES.items()} | dict(found.steps)
        losses = dict(found.losses)
        _add(losses, Loss.RING_FULL, counted.tally["ring_full"])
        _add(losses, Loss.NO_SOCKET, counted.tally["tls_homeless"])
        _add(losses, Loss.GAP, counted.tally["passed_over"])
        _add(losses, Loss.PROCESS_GONE, found.homeless)
        if self._workers:
            replaced, lost = self._workers.take_losses()
            steps["workers replaced"] = replaced
            steps["records lost, worker ended"] = lost + counted.lost
            _add(losses, Loss.WORKER_ENDED, steps["records lost, worker ended"])
        return found._replace(steps=in_order(steps), losses=losses)

    def close(self) -> None:
        if self._workers:
            self._workers.close()
            self._workers = None
        self._reports, self._late, self._late_samples = [], [], []

    @property
    def waits(self) -> bool:
        """Whether something was read of connections whose rows had not been taken: they come with the next."""
        return bool(self._late or self._late_samples)


def _add(losses: dict[tuple[int, str], int], cause: Loss, count: int) -> None:
    """Of anybody."""
    if count:
        losses[0, cause] = losses.get((0, cause), 0) + count
