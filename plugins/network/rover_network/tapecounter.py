"""What is put into it by hand, where a profiler expects what a kernel has counted and shipped."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from rover_bpf.maps import Array
from rover_core.api import TlsLibrary
from rover_network.counting import Counted
from rover_network.fastpath import FastMaps
from rover_network.feeds import TapeFeed, split
from rover_network.records import END, RECORD, Record
from rover_network.rows import KEY, ROW, TALLIES
from rover_network.tape import BLOCK, GATHERED

_PROTOCOL_AT = RECORD.size - 4
_PENDING = 64 << 20  # bytes of records
_END_OF_TIME_NS = 1 << 63


def checked_count(value: Any) -> int:
    """ValueError if it is none."""
    if not isinstance(value, int) or not 0 <= value < _END_OF_TIME_NS:
        raise ValueError("not a count")
    return value


class Attached(NamedTuple):
    label: str
    missing: Mapping[str, str]


class TapeCounter:
    """A `counting.Counter` and its `Capture`: what is put into it by hand, instead of by a kernel.

    numbers: the protocols' by those of the recording; what is of others is left out. workers: how many read it.
    """

    def __init__(
        self, probes: Attached, missing: Mapping[str, str], numbers: Mapping[int, int], workers: int
    ) -> None:
        self.probes = probes
        self.missing = missing
        self.capture = self
        self.slow: Mapping[str, str] = {}
        self.fast: FastMaps | None = None  # all that was recorded has been shipped
        self._numbers = np.zeros(256, np.uint8)
        for theirs, ours in numbers.items():
            self._numbers[theirs] = ours
        self._same = all(theirs == ours for theirs, ours in numbers.items())
        self.feeds = [TapeFeed() for _ in range(workers)]
        self._sent = [0] * workers
        self._pending: list[list[bytes]] = [[] for _ in range(workers)]
        self._room = _PENDING
        self.untaken = 0
        self.put(*nothing())

    def shipped(self) -> list[int]:
        return self._sent

    def play(self, kind: bytes, block: bytes) -> int:
        """The content of a RECORDS or GATHERED frame. Returns whose it is; ValueError if there is no such worker.

        Records are kept until their worker told of them: until then what they are of is not known to the agent.
        """
        if len(block) < BLOCK.size:
            raise ValueError("no block")
        number: int = BLOCK.unpack_from(block)[1]
        if number >= len(self.feeds):
            raise ValueError("a block of nobody")
        self._pending[number].append(block)
        self._room -= len(block)
        if kind == GATHERED or self._room < 0:
            self.send(number)
        return number

    def send(self, number: int) -> None:
        """What was kept of that worker's."""
        blocks, self._pending[number] = self._pending[number], []
        for block in blocks:
            self._room += len(block)
            records = [bytes(view) for view in split(block)] if self._same else list(self._renumbered(block))
            if not records and len(block) > BLOCK.size:
                continue  # it would be a mark
            if self.feeds[number].send(block[: BLOCK.size] + b"".join(records)):
                self._sent[number] += len(records)
            else:
                self.untaken += len(records)

    def _renumbered(self, block: bytes) -> Iterator[bytes]:
        for view in split(block):
            record = bytearray(view)
            number = int(self._numbers[record[_PROTOCOL_AT]])
            if number or Record._make(RECORD.unpack_from(record)).event & END:
                record[_PROTOCOL_AT] = number
                yield bytes(record)

    def put(self, keys: Array, rows: Array, counted: Mapping[str, Any]) -> None:
        """An interval, for the next `collect`."""
        rows["facts"]["speaks"] = self._numbers[np.minimum(rows["facts"]["speaks"], 255)]
        self._counted = Counted(
            keys,
            rows,
            {
                (checked_count(pid), checked_count(reason)): checked_count(count)
                for pid, reason, count in counted["reasons"]
            },
            {name: checked_count(counted["tally"].get(name, 0)) for name in TALLIES},
            [checked_count(pid) for pid in counted["uring"]],
            checked_count(counted["evicted"]),
            checked_count(counted["lost"]),
        )

    def collect(self) -> Counted:
        counted, untaken = self._counted, self.untaken
        self.untaken = 0
        self.put(*nothing())
        return replace(counted, lost=counted.lost + untaken)

    def fill(self) -> float:
        return 0.0

    def close(self) -> None:
        for feed in self.feeds:
            feed.close()

    def watch(self, pids: Iterable[int]) -> None:
        """All that was recorded is."""

    unwatch = leave_out = watch

    def watch_all(self, everything: bool) -> None:
        pass

    def mapped(self) -> Sequence[int]:
        return ()

    def tls_probes(self, libraries: Sequence[TlsLibrary]) -> None:
        """What was read of encrypted connections is in the recording."""

    def ask_again(self, connection: tuple[int, int, int]) -> None:
        """What came of it is in the recording."""

    def rename(self, connection: tuple[int, int, int], protocol: int) -> None:
        """As it was recorded."""

    def capture_content(self, size: int) -> None:
        """There is what there is."""

    def capture_only(self, names: Collection[str] | None) -> None:
        """As above."""


def nothing() -> tuple[Array, Array, Mapping[str, Any]]:
    """For `TapeCounter.put`."""
    empty = {"reasons": (), "tally": {}, "uring": (), "evicted": 0, "lost": 0}
    return np.zeros(0, KEY), np.zeros(0, ROW), empty
