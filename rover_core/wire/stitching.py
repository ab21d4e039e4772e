"""Matches requests with their responses: in the order of the stream, or by an id that both carry.

Messages of the two directions may arrive in any order: a response waits for a request that began before it did.
Loss never shifts the matches: what cannot be paired for certain is yielded as halves.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from itertools import islice
from typing import Any

from rover_core.model import Loss
from rover_core.wire.records import Direction, Exchange, Message

Describe = Callable[[Message[Any] | None, Message[Any] | None], Exchange]
"""What a protocol makes of a pair, or of a half whose other half is None."""

_QUIET_NS = 1_000_000_000
_NOTHING: Sequence[Exchange] = ()


class Stitcher(ABC):
    """describe: makes an exchange of two messages. room: requests that may be open, and responses that may be early.

    losses: messages lost, by cause; UNPAIRED are those that came but whose other half is lost or unknown.
    """

    def __init__(self, describe: Describe, room: int) -> None:
        self._describe = describe
        self._room = room
        self._done: list[Exchange] = []
        self.losses: dict[Loss, int] = {}

    def take(self) -> Sequence[Exchange]:
        """The exchanges since the last call."""
        if not self._done:
            return _NOTHING
        done, self._done = self._done, []
        return done

    def emit(self, request: Message[Any] | None, response: Message[Any] | None, cause: Loss | None = None) -> None:
        """An exchange is over. cause: why the other half is missing, where it was lost."""
        self._done.append(self._describe(request, response))
        if cause is not None:
            self.losses[cause] = self.losses.get(cause, 0) + 1

    @abstractmethod
    def request(self, message: Message[Any]) -> None: ...

    @abstractmethod
    def response(self, message: Message[Any]) -> None: ...

    def lost(self, direction: int, answering: bool) -> None:  # noqa: B027 - ids survive a loss
        """Messages of a direction are missing from here on.

        answering: the response to the oldest open request has begun and will still come.
        """

    @abstractmethod
    def expire(self, before_ns: int) -> None:
        """Yield the halves that began before."""

    @abstractmethod
    def close(self) -> None:
        """Yield all halves."""


class InOrder(Stitcher):
    """The oldest open request is answered next.

    After a loss it is unknown how many requests are without an answer: the queue gets a mark (None), and what stands
    behind it is not paired. Who sends again after an answer has waited for it, so with the next such request all is
    known again: except on connections that are known to send while answers are due, where it takes a second's quiet.
    """

    def __init__(self, describe: Describe, room: int) -> None:
        super().__init__(describe, room)
        self._open: deque[Message[Any] | None] = deque()
        self._early: deque[Message[Any]] = deque()
        self._marked = False
        self._answered = False
        self._overlapping = False
        self._last_ns = 0

    def awaited(self, start_ns: int) -> Message[Any] | None:
        """The request that a response which begins at that time answers, as far as is known."""
        oldest = self._open[0] if self._open else None
        return oldest if oldest is not None and oldest.start_ns <= start_ns else None

    def request(self, message: Message[Any]) -> None:
        if self._early and self._answer_early(message):
            return
        if self._answered:
            self._answered = False
            if self._marked:
                self._settle(message.start_ns)
            elif self._open:
                self._overlapping = True
        self._open.append(message)
        if len(self._open) > self._room:
            self._give_up_oldest()

    def response(self, message: Message[Any]) -> None:
        self._answered = True
        self._last_ns = message.end_ns
        if not self._open:
            self._early.append(message)
            if len(self._early) > self._room:
                self.emit(None, self._early.popleft(), Loss.UNPAIRED)
            return
        request = self._open[0]
        if request is None or request.start_ns > message.start_ns:
            self.emit(None, message, Loss.UNPAIRED if request is None else None)
        else:
            self._open.popleft()
            self.emit(request, message)

    def lost(self, direction: int, answering: bool) -> None:
        if direction == Direction.SERVER:
            self._answered = True
            if self._open:
                self._mark(min(len(self._open), answering))
        else:
            self._mark(len(self._open))

    def expire(self, before_ns: int) -> None:
        while self._early and self._early[0].start_ns < before_ns:
            self.emit(None, self._early.popleft())
        while (oldest := self._oldest()) is not None and oldest.start_ns < before_ns:
            self._give_up_oldest()

    def close(self) -> None:
        while self._early:
            self.emit(None, self._early.popleft())
        while self._open:
            self._give_up(self._open.popleft())

    def _answer_early(self, message: Message[Any]) -> bool:
        while self._early and self._early[0].start_ns < message.start_ns:
            self.emit(None, self._early.popleft())
        if not self._early or self._open:
            return False
        self.emit(message, self._early.popleft())
        return True

    def _mark(self, index: int) -> None:
        if self._marked:
            index = min(index, self._open.index(None))
            self._open.remove(None)
        self._open.insert(index, None)
        self._marked = True

    def _settle(self, start_ns: int) -> None:
        """Begin anew behind the mark, if nothing that was sent before can still be answered."""
        if self._overlapping and start_ns - self._last_ns < _QUIET_NS:
            return
        while self._marked:
            self._give_up(self._open.pop())

    def _oldest(self) -> Message[Any] | None:
        return next((message for message in islice(self._open, 2) if message is not None), None)

    def _give_up_oldest(self) -> None:
        """The mark stays: without it what stands behind it would be answered by whatever comes next."""
        oldest = self._oldest()
        self._open.remove(oldest)
        self._give_up(oldest)

    def _give_up(self, message: Message[Any] | None) -> None:
        if message is None:
            self._marked = False
        else:
            self.emit(message, None, Loss.UNPAIRED if self._marked else None)


class ById(Stitcher):
    """Request and response carry the same id. One id again, while it is open, ends the older request unanswered.

    key: reads the id off a message.
    """

    def __init__(self, describe: Describe, room: int, key: Callable[[Message[Any]], Hashable]) -> None:
        super().__init__(describe, room)
        self._key = key
        self._open: dict[Hashable, Message[Any]] = {}
        self._early: dict[Hashable, Message[Any]] = {}

    def awaited(self, key: Hashable) -> Message[Any] | None:
        """The open request of that id."""
        return self._open.get(key)

    def request(self, message: Message[Any]) -> None:
        key = self._key(message)
        early = self._early.pop(key, None) if self._early else None
        if early is not None and early.start_ns >= message.start_ns:
            self.emit(message, early)
            return
        if early is not None:
            self.emit(None, early)
        if key in self._open:
            self.emit(self._open.pop(key), None)
        self._open[key] = message
        if len(self._open) > self._room:
            self.emit(self._open.pop(next(iter(self._open))), None, Loss.OVER_LIMIT)

    def response(self, message: Message[Any]) -> None:
        key = self._key(message)
        request = self._open.get(key)
        if request is not None and request.start_ns <= message.start_ns:
            del self._open[key]
            self.emit(request, message)
            return
        if key in self._early:
            self.emit(None, self._early.pop(key))
        self._early[key] = message
        if len(self._early) > self._room:
            self.emit(None, self._early.pop(next(iter(self._early))), Loss.OVER_LIMIT)

    def expire(self, before_ns: int) -> None:
        for key in [key for key, message in self._early.items() if message.start_ns < before_ns]:
            self.emit(None, self._early.pop(key))
        for key in [key for key, message in self._open.items() if message.start_ns < before_ns]:
            self.emit(self._open.pop(key), None)

    def close(self) -> None:
        for message in self._early.values():
            self.emit(None, message)
        for message in self._open.values():
            self.emit(message, None)
        self._early.clear()
        self._open.clear()
