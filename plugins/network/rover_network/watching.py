"""Requests added up second by second, for whoever watches them rather than profiles: the worker's half and its words.

A request counts once it is answered, in the second in which it began. What it costs beside parsing is a look at the
process, at the path, and an addition.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from rover_core.api import RequestSums, RequestWatch
from rover_core.patterns import Pattern, compile_pattern
from rover_core.policies import Uri
from rover_core.wire import Exchange
from rover_core.wire.sampled import Sampleable

_SECOND = 1_000_000_000
_MOST = 20_000  # sums between two reports
_REMEMBERED = 1024  # paths, each of up to so many characters
_LONGEST = 1024
_LONGEST_URI = 8192

Told = list[Any]
"""[path, regex, protocol's number, pids] of a watch."""


class _Wanted(NamedTuple):
    uri: Uri
    protocol: int
    pattern: Pattern | None

    def takes(self, path: str) -> bool:
        if self.pattern is not None:
            return self.pattern.matches(path)
        return not self.uri.path or self.uri.path == path


class RequestWatcher:
    """lost: requests for whose sums there was no room, since the last `take`. watching: something is watched. alone:
    nobody wants anything else.
    """

    def __init__(self) -> None:
        self._wanted: dict[int, list[_Wanted]] = {}
        self._known: dict[tuple[int, int, str], list[Uri]] = {}
        self._sums: dict[tuple[Uri, int, int], list[int]] = {}
        self.lost = 0
        self.watching = self.alone = False

    def assign(self, watches: Iterable[Told], alone: bool) -> None:
        """What is watched from now on. Raises UsageError for an expression that is none."""
        self._wanted, self._known, self.alone = {}, {}, alone
        for path, regex, protocol, pids in watches:
            wanted = _Wanted(Uri(path, regex), protocol, compile_pattern(regex, "uri") if regex else None)
            for pid in pids:
                self._wanted.setdefault(pid, []).append(wanted)
        self.watching = bool(self._wanted)

    def offer(self, exchange: Exchange, pid: int, client: int, number: int, protocol: Sampleable) -> None:
        """An exchange of this process, as client or server, over the protocol of this number."""
        if client or pid not in self._wanted or not exchange.paired:
            return
        for uri in self._taking(pid, number, protocol.subject(exchange)):
            key = uri, pid, exchange.start_ns // _SECOND
            sums = self._sums.get(key)
            if sums is None:
                if len(self._sums) >= _MOST:
                    self.lost += 1
                    continue
                sums = self._sums[key] = [0, 0, 0]
            sums[0] += 1
            sums[1] += bool(exchange.error)
            sums[2] += exchange.duration_ns

    def _taking(self, pid: int, number: int, path: str) -> Sequence[Uri]:
        known = self._known.get((pid, number, path))
        if known is None:
            known = [each.uri for each in self._wanted[pid] if each.protocol == number and each.takes(path)]
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            if len(path) <= _LONGEST:
                self._known[pid, number, path] = known
        return known

    def take(self) -> list[list[Any]]:
        """Rows for JSON, and begin anew: [path, regex, pid, second, requests, errors, ns]."""
        taken, self._sums, self.lost = self._sums, {}, 0
        return [[uri.path, uri.regex, pid, second, *sums] for (uri, pid, second), sums in taken.items()]


def watches_told(watches: Iterable[RequestWatch], numbers: dict[str, int]) -> list[Told]:
    """numbers: of the protocols, by name."""
    return [[each.uri.path, each.uri.regex, numbers[each.protocol], sorted(each.pids)] for each in watches]


def sums_read(rows: Any) -> list[RequestSums]:
    """What a worker said. Raises ValueError for what no worker says."""
    try:
        return [_sums(*row) for row in rows]
    except TypeError as error:
        raise ValueError("no sums of requests") from error


def _sums(path: Any, regex: Any, *numbers: Any) -> RequestSums:
    if not all(isinstance(each, str) and len(each) <= _LONGEST_URI for each in (path, regex)):
        raise ValueError("not the URI of a watch")
    if not all(isinstance(each, int) and 0 <= each < 1 << 63 for each in numbers):
        raise ValueError("not a count")
    pid, second, requests, errors, duration_ns = numbers
    return RequestSums(Uri(path, regex), pid, second, requests, errors, duration_ns)
