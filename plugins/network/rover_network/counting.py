"""Where a profiler's figures come from: the kernel (counter.py), or what was recorded of one (replaying.py)."""

import platform
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rover_core.api import TlsLibrary
from rover_network.capture import Layer7
from rover_network.counter import Counted, NetworkCounter
from rover_network.dropreasons import drop_reasons
from rover_network.fastpath import FastMaps
from rover_network.feeds import Feed
from rover_network.host import Host
from rover_network.tls.finder import TlsProbes

__all__ = ["KERNEL", "Capture", "Counted", "Counter", "Origin"]


class Capture(Protocol):
    """As `capture.CaptureMaps`."""

    @property
    def missing(self) -> Mapping[str, str]: ...

    @property
    def slow(self) -> Mapping[str, str]: ...

    @property
    def fast(self) -> FastMaps | None: ...

    @property
    def feeds(self) -> Sequence[Feed]: ...

    def capture_content(self, size: int) -> None: ...

    def capture_only(self, names: Collection[str] | None) -> None: ...

    def shipped(self) -> list[int]: ...


class Attached(Protocol):
    """As `probes.Probes`."""

    @property
    def label(self) -> str: ...

    @property
    def missing(self) -> Mapping[str, str]: ...


class Counter(Protocol):
    """As `counter.NetworkCounter`."""

    @property
    def capture(self) -> Capture: ...

    @property
    def probes(self) -> Attached: ...

    def watch(self, pids: Iterable[int]) -> None: ...

    def unwatch(self, pids: Iterable[int]) -> None: ...

    def watch_all(self, everything: bool) -> None: ...

    def leave_out(self, pids: Collection[int]) -> None: ...

    def mapped(self) -> Sequence[int]: ...

    def tls_probes(self, libraries: Sequence[TlsLibrary]) -> TlsProbes | None: ...

    def ask_again(self, connection: tuple[int, int, int]) -> None: ...

    def rename(self, connection: tuple[int, int, int], protocol: int) -> None: ...

    def fill(self) -> float: ...

    def collect(self) -> Counted: ...

    def close(self) -> None: ...


def _open(layer7: Layer7) -> Counter:
    return NetworkCounter(layer7=layer7)


@dataclass(frozen=True, slots=True)
class Origin:
    """open: begins to count; RoverError with the reason. host, node: what is known of it, and its name. now_ns: the
    wall clock there. offset_ns: what the records' clock is behind it, None if both are this host's. reasons: why the
    kernel there drops packets, by its numbers.
    """

    open: Callable[[Layer7], Counter] = _open
    host: Callable[[], Host] = Host
    node: Callable[[], str] = platform.node
    now_ns: Callable[[], int] = time.time_ns
    offset_ns: int | None = None
    reasons: Callable[[], Mapping[int, str]] = drop_reasons


KERNEL = Origin()
