"""DNS connections and conversations: which query a response answers, and what the two are called."""

from collections.abc import Sequence
from typing import Any

from rover_core.model import Loss
from rover_core.wire import ById, Connection, Direction, Exchange, Limits, Message
from rover_dns.messages import RESPONSE, Dns, ends_transfer, joined, parse
from rover_dns.numbers import AXFR, IXFR, code_name, is_error, operation, operation_class
from rover_dns.readers import MessageReader

Key = tuple[int, str, int]

_NOTHING = ("", 0)
_TRANSFERS = frozenset((IXFR, AXFR))
_AT_ONCE = 16  # transfers of one connection


class ByQuestion(ById):
    """By id and question; a response without a question (a refusal) answers any of that id."""

    def __init__(self, room: int) -> None:
        super().__init__(describe, room, key=lambda message: key_of(message.detail))

    def request(self, message: Message[Any]) -> None:
        if self.awaited(key_of(message.detail)) is not None:
            message = message._replace(detail=message.detail._replace(again=True))
        super().request(message)
        if early := self._early.pop((message.detail.id, *_NOTHING), None):
            self.response(early)

    def response(self, message: Message[Any]) -> None:
        detail = message.detail
        if not detail.questions and detail.id and (asked := self._asked(detail.id)):
            message = message._replace(detail=detail._replace(subject=asked.subject))
        super().response(message)

    def _asked(self, number: int) -> Dns | None:
        return next((message.detail for message in self._open.values() if message.detail.id == number), None)


def key_of(detail: Dns) -> Key:
    subject = detail.subject
    return (detail.id, subject.name.lower(), subject.type) if subject else (detail.id, *_NOTHING)


class DnsConnection(Connection):
    """Over TCP. A zone comes in any number of messages, of which one is made."""

    def __init__(self, limits: Limits) -> None:
        self._pairs = ByQuestion(limits.open)
        self._transfers: dict[int, Message[Dns]] = {}
        super().__init__(MessageReader(limits, False), MessageReader(limits, True), self._pairs, limits)

    def stitch(self, direction: int, message: Message[Any]) -> None:
        if direction == Direction.SERVER:
            begun = self._transfers.pop(message.detail.id, None)
            if begun is not None:
                message = _joined(begun, message)
            if _is_transfer(message.detail) and message.complete and not ends_transfer(message.detail):
                self._transfers[message.detail.id] = message
                if len(self._transfers) <= _AT_ONCE:
                    return
                message = self._transfers.pop(next(iter(self._transfers)))._replace(complete=False)
        super().stitch(direction, message)

    def expire(self, before_ns: int) -> Sequence[Exchange]:
        self._end_transfers(before_ns)
        return super().expire(before_ns)

    def close(self) -> Sequence[Exchange]:
        self._end_transfers()
        return super().close()

    def _end_transfers(self, before_ns: int | None = None) -> None:
        for number, message in list(self._transfers.items()):
            if before_ns is None or message.end_ns < before_ns:
                del self._transfers[number]
                self._pairs.response(message._replace(complete=False))


def _is_transfer(detail: Dns) -> bool:
    return detail.subject is not None and detail.subject.type in _TRANSFERS


def _joined(first: Message[Dns], second: Message[Dns]) -> Message[Dns]:
    return first._replace(
        end_ns=second.end_ns,
        size=first.size + second.size,
        complete=first.complete and second.complete,
        detail=joined(first.detail, second.detail),
    )


class DnsConversation(Connection):
    """Over UDP: a `feed` is a datagram, a datagram a message, and what it is says the message itself.

    With multicast (RFC 6762) both sides ask and answer.
    """

    def __init__(self, limits: Limits) -> None:
        super().__init__(MessageReader(limits, False), MessageReader(limits, True), ByQuestion(limits.open), limits)

    def feed(self, direction: int, data: bytes, gap: int, timestamp_ns: int, began_ns: int = 0) -> Sequence[Exchange]:
        detail = parse(data, 0, len(data), whole=not gap)
        if detail is None:
            cause = Loss.GAP if gap else Loss.UNREADABLE
            self.losses[cause] = self.losses.get(cause, 0) + 1
            self.stray_bytes += len(data)
            return ()
        self.stray_bytes = 0
        complete = not gap or (gap > 0 and detail.certain)
        size = len(data) + max(gap, 0)
        content = data[: self.limits.content]
        message = Message(began_ns or timestamp_ns, timestamp_ns, size, complete, detail, content)
        self.stitch(Direction.SERVER if detail.flags & RESPONSE else Direction.CLIENT, message)
        return self.stitcher.take()


def describe(request: Message[Dns] | None, response: Message[Dns] | None) -> Exchange:
    """An exchange of DNS. A response says what it answers, so it needs no request for that."""
    message = request or response
    assert message is not None, "an exchange has one of them at least"
    detail = message.detail
    kind, name = (detail.subject.type, detail.subject.name) if detail.subject else (0, "")
    rcode = response.detail.rcode if response else 0
    return Exchange(
        operation_class(detail.opcode, kind),
        operation(detail.opcode, kind, name),
        code_name(rcode) if response else "",
        is_error(rcode),
        request,
        response,
    )
