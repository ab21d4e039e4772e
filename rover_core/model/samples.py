"""Single exchanges that sampling rules asked for, whole."""

from dataclasses import dataclass
from typing import NamedTuple

from rover_core.model.flows import FlowKey
from rover_core.model.processes import Entity


class TraceContext(NamedTuple):
    """What a request says of the trace that it is part of.

    provider: `skywalking`, or `zipkin` (B3, and W3C's, whose ids have the same form). segment_id: SkyWalking's.
    """

    provider: str
    trace_id: str
    segment_id: str
    span_id: str


@dataclass(frozen=True, slots=True)
class Syscall:
    """A system call that moved a part of a sampled message (contract section 5.7).

    function: as the contract spells it (`Write`, `Recvfrom`). start_ns, end_ns: wall-clock. packets, packet_bytes:
    what the kernel made of it. interface: its name, "" if unknown. rtt_us: smoothed round-trip time, 0 if not seen.
    """

    function: str
    start_ns: int
    end_ns: int
    packets: int = 0
    packet_bytes: int = 0
    interface: str = ""
    interface_index: int = 0
    rtt_us: int = 0


@dataclass(frozen=True, slots=True)
class SampledMessage:
    """The request or the response of a sampled exchange, as text without its secrets.

    start_ns, end_ns: wall-clock, of its first and last byte. size: bytes on the wire.
    """

    start_ns: int
    end_ns: int
    size: int
    text: str
    syscalls: tuple[Syscall, ...] = ()


@dataclass(frozen=True, slots=True)
class SampledExchange:
    """A request and its response that a sampling rule asked for.

    protocol: the label of its protocol (contract section 5.3). reason: `slow`, `status_4xx`, `status_5xx`, `error`.
    operation: its kind (`GET`). subject: what rules are about: HTTP's request target without its query; secrets are
    redacted. status: as the protocol writes it. start_ns: wall-clock. request, response: None unless the rule wants
    them attached.
    """

    protocol: str
    reason: str
    operation: str
    subject: str
    status: str
    start_ns: int
    duration_ns: int
    ssl: bool = False
    trace: TraceContext | None = None
    request: SampledMessage | None = None
    response: SampledMessage | None = None

    @property
    def end_ns(self) -> int:
        return self.start_ns + self.duration_ns


@dataclass(frozen=True, slots=True)
class Sample:
    """A sampled exchange and who had it.

    address: of the other end, with its port, "" where there is none. entities: of the process, each with the peer's
    of the same service and instance, as in meters' labels; None where it has none.
    """

    flow: FlowKey
    address: str
    exchange: SampledExchange
    entities: tuple[tuple[Entity, Entity | None], ...] = ()
