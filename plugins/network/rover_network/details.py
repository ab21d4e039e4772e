"""System calls that moved sampled messages: struct rover_call_detail of rover/details.h, and what workers keep of it.

Standard library only: it lives in workers.
"""

import struct
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from rover_core.model import Syscall
from rover_core.wire import Message
from rover_network.records import RECORD, Bytes

DETAIL = struct.Struct("<QIIIHH")
FUNCTIONS = {
    "read": "Read",
    "readv": "Readv",
    "preadv2": "Readv",
    "recvfrom": "Recvfrom",
    "recvmsg": "RecvMsg",
    "recvmmsg": "RecvMMsg",
    "write": "Write",
    "writev": "Writev",
    "pwritev2": "Writev",
    "sendto": "Sendto",
    "sendmsg": "SendMsg",
    "sendmmsg": "SendMMSg",
    "sendfile": "SendFile",
    "splice": "Splice",
}
"""What system calls are called (contract section 5.7, which has no `Splice`). The kernel's numbers of them are their
places, from 1 on."""
_NAMES = ("", *FUNCTIONS.values())
_FUNCTIONS = len(FUNCTIONS)
_unpack = DETAIL.unpack_from
_KEPT = 65_536  # calls of all connections,
_OF_ONE = 512  # of one,
_OF_EACH = 4  # and where there is no room
_TOLD = 200  # of a message
_LARGEST = 1 << 60
Key = tuple[int, int, int]


class Call(NamedTuple):
    """Times by the records' clock. sent: 1: by this process, 0: received. encrypted: 1: what it moved was encrypted.

    The rest: `Syscall`.
    """

    sent: int
    began_ns: int
    ended_ns: int
    packet_bytes: int
    packets: int
    interface_index: int
    rtt_us: int
    function: int
    encrypted: int = 0

    def syscall(self, offset_ns: int) -> Syscall:
        """offset_ns: what the records' clock is behind the wall clock."""
        return Syscall(
            _NAMES[self.function],
            self.began_ns + offset_ns,
            self.ended_ns + offset_ns,
            self.packets,
            self.packet_bytes,
            interface_index=self.interface_index,
            rtt_us=self.rtt_us,
        )


class _History:
    """The newest calls of a connection. forgotten_ns: when the newest of those ended that are not known any more."""

    __slots__ = ("calls", "forgotten_ns")

    def __init__(self) -> None:
        self.calls: deque[Call] = deque()
        self.forgotten_ns = -1

    def shorten(self, room: int) -> int:
        """To that many calls. Returns how many are gone."""
        gone = max(0, len(self.calls) - room)
        for _ in range(gone):
            self.forgotten_ns = self.calls.popleft().ended_ns
        return gone


class CallBook:
    """The newest calls of every connection, so that those of a slow exchange are there when it ends."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._count = 0
        self._histories: dict[Key, _History] = {}
        self._forgotten_ns = -1
        self._cut = 0

    def add(self, key: Key, fields: Sequence[int], memory: Bytes, at: int) -> None:
        """A call whose data follow. fields: of the `Record`, which is unpacked already; at: where in memory it is."""
        # For every call of a process that is sampled: no names, and no record but the one that is kept.
        began_ns, ended_ns = fields[5:7]
        call = Call(fields[11], began_ns, ended_ns, *_unpack(memory, at + RECORD.size))
        if not 0 < call.function <= _FUNCTIONS or not began_ns <= ended_ns <= _LARGEST or call[3] > _LARGEST:
            return  # a forged recording's
        history = self._histories.get(key)
        if history is None:
            history = self._histories[key] = _History()
        calls = history.calls
        if calls and calls[-1][1] == began_ns:
            calls[-1] = _together(calls[-1], call)
            return
        calls.append(call)
        self._count += 1
        if len(calls) > _OF_ONE:
            self._count -= history.shorten(_OF_ONE)
        if self._count > self._kept:
            self._make_room()

    def _make_room(self) -> None:
        """Of those that talk much, what is old goes; of too many, also the half that is known for longest."""
        self._count -= sum(history.shorten(_OF_EACH) for history in self._histories.values())
        if self._count > self._kept // 2:
            for key in list(self._histories)[: len(self._histories) // 2]:
                self._forgotten_ns = max(self._forgotten_ns, self._histories[key].calls[-1].ended_ns)
                self.end(key)

    def end(self, key: Key) -> None:
        """The connection is over."""
        history = self._histories.pop(key, None)
        self._count -= len(history.calls) if history else 0

    def clear(self) -> None:
        """Nothing is sampled any more."""
        self._histories.clear()
        self._count = 0

    def of(self, place: Sequence[int], from_server: int, message: Message[Any]) -> Sequence[Call]:
        """Those that moved a message which has just ended, in order.

        place: begins with the connection's key, and whether this process is the client. Encrypted bytes are read
        before their message is there, and may be written behind it: so those count that were read since something
        was written, or the last one before, and those that are written until something is read.
        """
        inode, tgid, peer, client = place[:4]
        sent = from_server != client
        history = self._histories.get((inode, tgid, peer))
        found: list[Call] = []
        for call in reversed(history.calls) if history else ():
            if call.ended_ns < message.start_ns and (sent or not call.encrypted or (call.sent and found)):
                break
            if call.sent == sent and (call.began_ns <= message.end_ns or (sent and call.encrypted)):
                found.append(call)
            elif sent and call.encrypted and call.began_ns > message.end_ns:
                found.clear()
        forgotten_ns = max(self._forgotten_ns, history.forgotten_ns if history else -1)
        self._cut += len(found) > _TOLD or message.start_ns <= forgotten_ns
        return found[: -_TOLD - 1 : -1]

    def take_losses(self) -> dict[str, int]:
        """By what people call them; counted anew from now on."""
        cut, self._cut = self._cut, 0
        return {"messages without all system calls": cut} if cut else {}


def _together(one: Call, other: Call) -> Call:
    """A call that moved its bytes in several portions (sendfile, sendmmsg)."""
    return other._replace(
        packet_bytes=one.packet_bytes + other.packet_bytes,
        packets=one.packets + other.packets,
        interface_index=other.interface_index or one.interface_index,
    )
