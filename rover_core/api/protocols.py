"""A protocol that connections speak."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rover_core.wire import Capture, Connection, Exchange, Limits, TraceContext
from rover_core.wire.sampled import Render, no_reason, operation, untraced

CLASSIFY_BYTES = 64
"""What a classifier may look at, however few of them came."""

FAST_BYTES = 1024
"""What a fast path's judge may look at."""


@dataclass(frozen=True, slots=True)
class ExchangeMetric:
    """A number of its own that a protocol has of each exchange: rows, partitions, answers.

    name: after the meter prefix and the protocol's name: `rows` of `mysql` is `mysql_rows`. unit: as people write it.
    value: reads it off an exchange; None where it has none. Its sum, count and histogram are kept by the profiler.
    """

    name: str
    unit: str
    value: Callable[[Exchange], int | None]


@dataclass(frozen=True, slots=True)
class FastPath:
    """How plain exchanges of a protocol are counted in the kernel, without the parser.

    judge: a C header with `static int <name>_request(...)` and `<name>_response(...)`, as docs/writing-a-protocol.md
    says. request: the detail of a request of which only the operation's class and name are known; response: of a
    response of that status. failed: whether a status is an error. All three agree with what `connect` makes of bytes.
    """

    judge: Path
    request: Callable[[str, str], Any]
    response: Callable[[int], Any]
    failed: Callable[[int], bool]


@dataclass(frozen=True, slots=True)
class WireProtocol:
    """A protocol that connections speak: all that recognising it in the kernel and reading it take.

    name: `http1`; of metrics and of the `protocols` setting.
    label: the `protocol` label of metrics (contract section 5.3).
    classifier: a C header with `static int <name>_classify(const unsigned char *head, unsigned int size)`, compiled
    into a program of its own, so that one that does not compile takes nobody along. head: CLASSIFY_BYTES bytes, the
    first of a call's data; those from `size` on are 0. It returns 0 for "not this protocol", 1 for a request, 2 for
    a response, and can call nothing, not even memcmp.
    capture: which bytes the kernel ships.
    connect: makes the parser of a new connection; a module-level function, since workers are processes.
    datagrams: makes the parser of a UDP conversation, where each `feed` is a datagram; None if there is none.
    trace: the trace context that the request carries.
    subject: what sampling rules are about, and what a sampled exchange is called: HTTP's path.
    reason: what an exchange is sampled for by its status, beside being slow or an error: `status_4xx`.
    render: a message as text for people, up to `Rendering.most`, its secrets redacted (`Rendering.redaction`) before
    anything is cut off; None leaves messages out of samples.
    metrics: beside those that every protocol gets (requests, errors, statuses, durations and sizes).
    fast: counts plain exchanges in the kernel; not used beside metrics, which take the parser.
    selector: of CaptureMode.FRAMES, a C header like the classifier's, compiled into a program of its own too, with
    `static int <name>_select(const unsigned char *head, unsigned long long *ship, unsigned long long *skip)` and
    `<NAME>_SELECT_HEAD`. head: so many bytes that begin a frame, 15 at most. It says how many bytes from there on are
    to be shipped and how many behind those are to be left out, and returns 0 for what is no frame.
    continues: what other parsers call it when they hand a connection over (`Connection.switched`): `h2c`.
    """

    name: str
    label: str
    classifier: Path
    capture: Capture
    connect: Callable[[Limits], Connection]
    datagrams: Callable[[Limits], Connection] | None = None
    trace: Callable[[Exchange], TraceContext | None] = untraced
    subject: Callable[[Exchange], str] = operation
    reason: Callable[[Exchange], str] = no_reason
    render: Render | None = None
    metrics: tuple[ExchangeMetric, ...] = ()
    fast: FastPath | None = None
    selector: Path | None = None
    continues: tuple[str, ...] = ()
