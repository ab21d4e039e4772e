"""What is sampled, and by which rules, in JSON between agent and workers. What a worker says is a stranger's word."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rover_core.model import SampledExchange, SampledMessage, SamplingRule, Syscall, TraceContext
from rover_network.sampling import Taken

_LONGEST = 1 << 21  # characters of a message
_MOST_CALLS = 1000
_SHORT = 1 << 17  # of a subject: a head's size at most, with what redaction adds
_REASONS = ("slow", "error", "status_4xx", "status_5xx")


def rules_told(rules: Iterable[SamplingRule]) -> list[dict[str, Any]]:
    return [asdict(rule) for rule in rules]


def rules_read(records: Iterable[Mapping[str, Any]]) -> list[SamplingRule]:
    """What the agent said."""
    return [SamplingRule(**record) for record in records]


def samples_told(taken: Iterable[Taken[Any]]) -> list[list[Any]]:
    """[task, flow, exchange] of each."""
    return [[each.task_id, each.flow, asdict(each.exchange)] for each in taken]


def samples_read(rows: Any) -> list[Taken[tuple[int, ...]]]:
    """What a worker said: flows are numbers. Raises ValueError for what no worker says."""
    try:
        return [_sample(*row) for row in rows]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no samples: {type(error).__name__}") from None


def _sample(task_id: Any, flow: Sequence[Any], record: Mapping[str, Any]) -> Taken[tuple[int, ...]]:
    reason = _text(record["reason"])
    if reason not in _REASONS:
        raise ValueError("a reason that is none")
    exchange = SampledExchange(
        _text(record["protocol"]),
        reason,
        _text(record["operation"]),
        _text(record["subject"]),
        _text(record["status"]),
        _count(record["start_ns"]),
        _count(record["duration_ns"]),
        record["ssl"] is True,
        None if record["trace"] is None else _trace(*record["trace"]),
        None if record["request"] is None else _message(record["request"]),
        None if record["response"] is None else _message(record["response"]),
    )
    return Taken(_text(task_id), tuple(_count(part) for part in flow), exchange)


def _trace(provider: Any, *ids: Any) -> TraceContext:
    if provider not in ("skywalking", "zipkin"):
        raise ValueError("a provider of traces that is none")
    trace_id, segment_id, span_id = map(_text, ids)
    return TraceContext(provider, trace_id, segment_id, span_id)


def _message(record: Mapping[str, Any]) -> SampledMessage:
    calls = record["syscalls"]
    if len(calls) > _MOST_CALLS:
        raise ValueError("more system calls than a worker tells")
    return SampledMessage(
        _count(record["start_ns"]),
        _count(record["end_ns"]),
        _count(record["size"]),
        _text(record["text"], _LONGEST),
        tuple(map(_syscall, calls)),
    )


def _syscall(record: Mapping[str, Any]) -> Syscall:
    return Syscall(
        _text(record["function"]),
        _count(record["start_ns"]),
        _count(record["end_ns"]),
        _count(record["packets"]),
        _count(record["packet_bytes"]),
        _text(record["interface"]),
        _count(record["interface_index"]),
        _count(record["rtt_us"]),
    )


def _text(value: Any, longest: int = _SHORT) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError("not a text")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise ValueError("not a count")
    return value
