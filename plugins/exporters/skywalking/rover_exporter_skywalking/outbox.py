"""What waits to be sent, bounded in bytes."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rover_core.model import Loss
from rover_exporter_skywalking.rpc import Rpc

_OVERHEAD = 64  # bytes that each message takes in memory beside its own


@dataclass(frozen=True, slots=True)
class Parcel:
    """Serialized messages that belong together, and how many samples (or events) are lost with them.

    stream: parcels of different ones are not sent in one, whatever the call.
    """

    rpc: Rpc[Any]
    messages: tuple[bytes, ...]
    kept: int
    stream: str = ""

    @property
    def kind(self) -> tuple[Rpc[Any], str]:
        return self.rpc, self.stream

    @property
    def size(self) -> int:
        return sum(len(message) + _OVERHEAD for message in self.messages)


class Outbox:
    """First in, first out. Beyond `room` bytes the oldest go, those on their way included, and `lost` is told."""

    def __init__(self, room: int, lost: Callable[[int, Loss], None]) -> None:
        self._room = room
        self._lost = lost
        self._parcels: deque[Parcel] = deque()
        self._size = 0
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._parcels)

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return self._size

    def put(self, parcels: Iterable[Parcel]) -> None:
        for parcel in parcels:
            self._parcels.append(parcel)
            self._size += parcel.size
        self._shrink()

    async def filled(self) -> None:
        """Return when there is something to take."""
        while not self._parcels:
            self._filled.clear()
            await self._filled.wait()

    def take(self, most: int) -> list[Parcel]:
        """The oldest parcels, all of one kind, of up to `most` bytes together or one; they are out then."""
        taken: list[Parcel] = []
        size = 0
        while self._parcels and (not taken or self._parcels[0].kind == taken[0].kind):
            size += self._parcels[0].size
            if taken and size > most:
                break
            taken.append(self._parcels.popleft())
        self._size -= sum(parcel.size for parcel in taken)
        return taken

    def give_back(self, parcels: list[Parcel], *, behind: bool) -> None:
        """They could not be sent: to the front again, or behind all others, so that they hold up none."""
        if behind:
            self._parcels.extend(parcels)
        else:
            self._parcels.extendleft(reversed(parcels))
        self._size += sum(parcel.size for parcel in parcels)
        self._shrink()

    def give_up(self, parcels: Iterable[Parcel], cause: Loss) -> None:
        """They are lost."""
        self._lost(sum(parcel.kept for parcel in parcels), cause)

    def clear(self) -> list[Parcel]:
        left = list(self._parcels)
        self._parcels.clear()
        self._size = 0
        return left

    def _shrink(self) -> None:
        dropped = []
        while self._size > self._room:
            dropped.append(self._parcels.popleft())
            self._size -= dropped[-1].size
        if dropped:
            self.give_up(dropped, Loss.QUEUE_FULL)
        if self._parcels:
            self._filled.set()
