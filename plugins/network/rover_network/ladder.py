"""The steps from a call in the kernel to an exchange, and what to do where one of them loses something.

docs/debugging.md walks them with a person.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from rover_core.model import Completeness, Loss

EXPORTED = "exchanges exported"
"""In what exporters are given; what becomes of it there, they say."""
_WHERE = "docs/debugging.md"


class Rung(NamedTuple):
    """A step that counts. below: the one without which it counts nothing; why: what is wrong if only that does."""

    step: str
    below: str = ""
    why: str = ""


LADDER = (
    Rung("calls seen"),
    Rung("TLS calls, socket not known"),
    Rung("datagrams left out"),
    Rung("calls shown to classifiers", "calls seen", "connections were recognised before, or nothing was sent"),
    Rung(
        "connections recognised",
        "calls shown to classifiers",
        "nobody speaks an installed protocol, or in TLS (`doctor --pid`)",
    ),
    Rung("calls captured", "connections recognised", "what was recognised moved nothing since"),
    Rung("records lost, ring full"),
    Rung("records read", "calls captured", "no worker reads the rings: see the log"),
    Rung("workers replaced"),
    Rung("records lost, worker ended"),
    Rung("bytes not captured"),
    Rung("parser failed"),
    Rung("connections"),
    Rung("connections forgotten"),
    Rung("messages parsed", "records read", "no message of these connections is whole yet, or the verdict was wrong"),
    Rung("exchanges paired", "messages parsed", "requests have no answer yet, or the connections began before"),
    Rung("exchanges"),
    Rung(EXPORTED, "exchanges", "they were of processes that are not the task's, or whose connections are gone"),
    Rung("samples left out"),
    Rung("messages not rendered"),
    Rung("worker ns"),
)
REMEDIES = {
    Loss.RING_FULL: "raise protocol_analyze.per_cpu_buffer or .parallels, or watch fewer processes",
    Loss.WORKER_ENDED: "the log says why a worker ended; `rover record network` keeps what it read for a report",
    Loss.MAP_FULL: "shorten profiling.task.network.report_interval, or watch fewer processes",
    Loss.QUEUE_FULL: "raise protocol_analyze.queue_size",
    Loss.PROCESS_GONE: "shorten profiling.task.network.report_interval",
    Loss.GAP: "bytes were lost in front of these messages: see the losses above it",
    Loss.UNREADABLE: "what was recognised was not read: `rover record network`, then `rover replay --check`",
    Loss.OVER_LIMIT: "messages were larger than a reader keeps: nothing to do",
    Loss.NO_SOCKET: "a program encrypts in another order than it sends, or within TLS: nothing to do",
    Loss.UNPAIRED: "half of an exchange was not seen: it began before the task, or has not ended",
}
_FAULTS = {"records lost, ring full", "records lost, worker ended", "workers replaced", "parser failed"}


def in_order(steps: Mapping[str, int]) -> dict[str, int]:
    """From the first step to the last; others behind them."""
    known = [rung.step for rung in LADDER if rung.step in steps]
    return {name: steps[name] for name in (*known, *(name for name in steps if name not in known))}


def broken(steps: Mapping[str, int]) -> Iterator[tuple[str, int, str]]:
    """(step, count, what is wrong with it, or "")."""
    for name, count in in_order(steps).items():
        rung = next((rung for rung in LADDER if rung.step == name), Rung(name))
        stuck = not count and rung.below and steps.get(rung.below, 0)
        yield name, count, rung.why if stuck else "it should be none" if count and name in _FAULTS else ""


def lost(completeness: Completeness) -> Iterator[tuple[str, int, str]]:
    """(cause, count, what to do about it)."""
    for cause, count in (*completeness.lost.items(), *completeness.degraded.items()):
        yield str(cause), count, f"{REMEDIES.get(cause, '')} ({_WHERE})".strip()
