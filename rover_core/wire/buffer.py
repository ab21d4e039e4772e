"""The bytes of one direction of a connection that are not consumed yet."""

from typing import TypeVar

from rover_core.wire.records import Message

Detail = TypeVar("Detail")

WITHOUT_END = 1 << 80
"""To skip until the connection closes."""


class Buffer:
    """Bytes in hand without a gap among them, where they lie in the stream, and when they passed.

    data[at:] is what is in hand. Most calls carry whole messages, so `data` is the very object that came and nothing
    is copied; what is left of it waits in a bytearray for more. Bytes to skip need not have come yet: they are owed,
    and consumed as they come, as far as they were captured: what is missing behind the bytes in hand is consumed with
    them. `finish` makes a message of all that was consumed since the last one.

    start_ns: when the message began. began_ns, end_ns: of the newest call; previous_ns: end_ns of the one before.
    newest: index in data of the newest call's first byte. after: bytes behind those in hand that were not captured,
    -1 for an unknown number. content: bytes of each message to keep.
    """

    __slots__ = (
        "_base",
        "_kept",
        "_room",
        "_searched",
        "_start",
        "after",
        "at",
        "began_ns",
        "content",
        "data",
        "end_ns",
        "newest",
        "owed",
        "previous_ns",
        "start_ns",
    )

    def __init__(self, content: int = 0) -> None:
        self.data: bytes | bytearray = b""
        self.at = 0
        self.owed = 0
        self.after = 0
        self.content = content
        self.start_ns = 0
        self.began_ns = 0
        self.end_ns = 0
        self.previous_ns = 0
        self.newest = 0
        self._base = 0  # offset of data[0] in the stream
        self._start = 0  # offset of the message's first byte
        self._searched = 0  # no end of what `find` looks for lies before this index of data
        self._room = content
        self._kept = bytearray()

    def __len__(self) -> int:
        return len(self.data) - self.at

    @property
    def position(self) -> int:
        """Offset in the stream of the first byte in hand: bytes consumed so far, gaps included."""
        return self._base + self.at

    @property
    def endless(self) -> bool:
        """Everything until the connection closes is owed."""
        return self.owed > WITHOUT_END >> 1

    @property
    def pending(self) -> bool:
        """A message has begun: something was consumed or is in hand since the last one ended."""
        return self._base + len(self.data) > self._start

    @property
    def kept(self) -> bytes:
        """The first bytes of the message's content so far, as many as are to be kept."""
        return bytes(self._kept)

    def push(self, data: bytes, began_ns: int, end_ns: int, after: int = 0) -> None:
        """Bytes that came, and how many behind them did not. began_ns, end_ns: of the call that moved them.

        A rest of `after` that nothing consumed ends what is in hand: `leap` before anything else comes.
        """
        have = len(self.data)
        self.newest = rest = have - self.at
        if self._base + have == self._start:
            self.start_ns = began_ns
        self.began_ns = began_ns
        self.previous_ns = self.end_ns
        self.end_ns = end_ns
        self.after = after
        if rest:
            self._append(data)
        else:
            self._base += have
            self.data = data
            self.at = self._searched = 0
        if self.owed:
            owed, self.owed = self.owed, 0
            self.skip(owed)

    def _append(self, data: bytes) -> None:
        if isinstance(self.data, bytearray):
            del self.data[: self.at]
        else:
            self.data = bytearray(self.data[self.at :])
        self._base += self.at
        self._searched = max(0, self._searched - self.at)
        self.at = 0
        self.data += data

    def leap(self, gap: int, began_ns: int, end_ns: int) -> int:
        """Bytes that came but were not captured. What is owed swallows them; returns how many it does not.

        A gap that returns something ends what is in hand: `clear` before anything else comes.
        """
        if not self.pending:
            self.start_ns = began_ns
        self.began_ns = began_ns
        self.previous_ns = self.end_ns
        self.end_ns = end_ns
        self._swallow(gap)
        left, self.after = self.after, 0
        return left

    def clear(self, gap: int = 0) -> None:
        """Consume everything in hand, and a gap behind it."""
        self._base += len(self.data) + gap
        self.data = b""
        self.at = self.owed = self._searched = 0

    def skip(self, count: int) -> None:
        """Consume bytes, those that have not come yet included."""
        at = self.at + count
        have = len(self.data)
        if self._room:
            self._keep(at)
        if at > have:
            self.owed = at - have
            at = have
            if self.after > 0:
                self._swallow(self.after)
        self.at = at

    def _swallow(self, gap: int) -> None:
        swallowed = min(gap, self.owed)
        self.owed -= swallowed
        self.after = gap - swallowed
        self._base += swallowed
        self._room = 0

    def drop(self, count: int) -> None:
        """Consume bytes in hand that belong to no message's content: framing."""
        self.at += count

    def forget(self) -> None:
        """What was consumed so far belongs to no message: the next begins here."""
        self._start = self._base + self.at
        self.start_ns = self.began_ns
        if self.content:
            self._kept.clear()
            self._room = self.content

    def find(self, mark: bytes) -> int:
        """Index in data of the next `mark`, -1 if it has not come. Looks at no byte twice while more comes.

        Until something is consumed, ask for the same mark.
        """
        at, searched = self.at, self._searched
        found = self.data.find(mark, searched if searched > at else at)
        if found < 0:
            self._searched = max(0, len(self.data) - len(mark) + 1)
        elif searched:
            self._searched = at
        return found

    def finish(self, detail: Detail, complete: bool = True) -> Message[Detail]:
        """The message that ends here; the next one begins behind it."""
        position = self._base + self.at
        content = bytes(self._kept) if self._kept else b""
        message = Message(self.start_ns, self.end_ns, position - self._start, complete, detail, content)
        self._start = position
        self.start_ns = self.began_ns
        self._room = self.content
        if content:
            self._kept.clear()
        return message

    def _keep(self, end: int) -> None:
        kept = self.data[self.at : min(end, self.at + self._room)]
        self._kept += kept
        self._room -= len(kept)
