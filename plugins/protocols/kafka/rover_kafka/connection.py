"""A Kafka connection: requests and responses by correlation id, and what the two are called."""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from rover_core.wire import ById, Connection, Direction, Exchange, Limits, Message
from rover_kafka.plans import APIS, ERRORS, Found, read
from rover_kafka.readers import Request, RequestReader, Response, ResponseReader

PRODUCE, FETCH, METADATA, API_VERSIONS = 0, 1, 3, 18
_EMPTY = "Fetch (empty)"
_TOPICS = 2
_KNOWN_IDS = 4096
_HARMLESS = frozenset({27, 79})
_UNSUPPORTED_VERSION = 35

_topic_names: dict[bytes, str] = {}
"""Names of topics by their ids, as responses to Metadata say. Ids are random: those of two clusters never meet. Which
broker a client asks is its choice, so what one connection says is for all."""


class Answer(NamedTuple):
    """found: what the body says, as far as its API is known; else None."""

    correlation: int
    found: Found | None


class KafkaConnection(Connection):
    """Nothing of a message's content is kept: what is not records may be a password."""

    def __init__(self, limits: Limits) -> None:
        limits = replace(limits, content=0)
        pairs = ById(describe, limits.open, key=_correlation)
        super().__init__(RequestReader(limits), ResponseReader(limits, pairs.awaited), pairs, limits)

    def stitch(self, direction: int, message: Message[Any]) -> None:
        if direction == Direction.CLIENT and message.detail.key == PRODUCE and message.detail.found.acks == 0:
            self.stitcher.emit(message, None)
        else:
            super().stitch(direction, message)


def _correlation(message: Message[Any]) -> int:
    return message.detail.correlation  # type: ignore[no-any-return]


def describe(request: Message[Request] | None, response: Message[Response] | None) -> Exchange:
    """An exchange. Without a request nothing is known of what a response says."""
    if request is None:
        return Exchange("", "", "", False, None, response and _answered(response, None))
    asked = request.detail
    answer = read(asked.plan, response.detail.head, 0) if response else None
    if response and answer:
        response = _answered(response, answer)
    name = operation_class(asked, answer)
    codes = answer.errors if answer else ()
    # An error behind what was looked at is not seen, and "no error" then says no more than that.
    status = "" if answer is None else error_name(codes[0]) if codes else ERRORS[0]
    return Exchange(name, _operation(name, asked, answer), status, _is_error(asked.key, codes), request, response)


def _answered(response: Message[Response], found: Found | None) -> Message[Any]:
    partial = response.detail.cut and (found is None or found.partial)
    detail = Answer(response.detail.correlation, found)
    return Message(response.start_ns, response.end_ns, response.size, response.complete and not partial, detail)


def operation_class(request: Request, answer: Found | None) -> str:
    """The API's name. A Fetch that brought nothing is another class: the broker waited, as it was asked to."""
    if request.key == FETCH and answer and not answer.record_bytes:
        return _EMPTY
    api = APIS.get(request.key)
    return api.name if api else f"Api{request.key}"


def _operation(name: str, request: Request, answer: Found | None) -> str:
    if request.key == METADATA and answer and len(answer.ids) == len(answer.topics):
        _remember(answer)
    if request.key not in (PRODUCE, FETCH):
        return name
    topics = topics_of(request.found) or (topics_of(answer) if answer else [])
    if not topics:
        return name
    return f"{name} {', '.join(topics[:_TOPICS])}{', ...' if len(topics) > _TOPICS else ''}"


def topics_of(found: Found) -> list[str]:
    """Names in their order, each once; the id, as Kafka prints it, where no name has been seen for it."""
    names = found.topics + [_topic_names.get(each) or urlsafe_b64encode(each)[:22].decode() for each in found.ids]
    return sorted(set(names)) if len(names) > 1 else names


def _remember(answer: Found) -> None:
    for topic, name in zip(answer.ids, answer.topics, strict=True):
        if any(topic):
            _topic_names.pop(topic, None)
            _topic_names[topic] = name
    while len(_topic_names) > _KNOWN_IDS:
        del _topic_names[next(iter(_topic_names))]


def error_name(code: int) -> str:
    return ERRORS.get(code) or str(code)


def _is_error(key: int, codes: Sequence[int]) -> bool:
    """Not REBALANCE_IN_PROGRESS and MEMBER_ID_REQUIRED, which is how groups work, nor agreeing on a version."""
    harmless = _HARMLESS | {_UNSUPPORTED_VERSION} if key == API_VERSIONS else _HARMLESS
    return any(code not in harmless for code in codes)


def fetch_wait(exchange: Exchange) -> int | None:
    """Milliseconds that a broker waited for records and got none, of the most that it was allowed to."""
    if exchange.operation_class != _EMPTY or exchange.request is None or not exchange.paired:
        return None
    allowed: int = exchange.request.detail.found.wait_ms
    return max(0, min(exchange.duration_ns // 1_000_000, allowed))


def record_bytes(exchange: Exchange) -> int | None:
    """Of the batches produced or fetched, compressed if they are."""
    if exchange.request is None or exchange.request.detail.key not in (PRODUCE, FETCH):
        return None
    if exchange.request.detail.key == PRODUCE:
        return exchange.request.detail.found.record_bytes  # type: ignore[no-any-return]
    answer: Found | None = exchange.response.detail.found if exchange.response else None
    return answer.record_bytes if answer else None


def throttle(exchange: Exchange) -> int | None:
    """Milliseconds for which the broker says that it throttled the client; None where it does not."""
    answer: Found | None = exchange.response.detail.found if exchange.response else None
    return answer.throttle_ms if answer is not None and answer.throttle_ms > 0 else None
