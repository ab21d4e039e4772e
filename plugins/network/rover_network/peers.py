"""Who is at the other end of a connection (contract sections 5.3 and 5.4)."""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar

from rover_core.model import FlowKey, Peer, ProcessKey
from rover_network.connections import Connection, End, address_text, ends_key
from rover_network.folding import Folded
from rover_network.host import Host

REMEMBERED = 16384
"""What `Recent` keeps."""
Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(OrderedDict[Key, Value], Generic[Key, Value]):
    """Keeps what was noted last."""

    def note(self, key: Key, value: Value) -> None:
        self[key] = value
        self.move_to_end(key)
        while len(self) > REMEMBERED:
            self.popitem(last=False)


class _Holder(NamedTuple):
    process: ProcessKey
    name: str
    role: str


class PeerBook:
    """Remembers the ends of connections, also of those that are over, to find who has the other one.

    Two ends of one connection may be counted in different intervals, so what was seen is kept for a while.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self._ends: Recent[bytes, _Holder] = Recent()
        self._sockets: Recent[int, _Holder] = Recent()
        self._facing: Recent[int, _Holder] = Recent()  # who is at the other end of a Unix socket, by its inode
        self._servers: Recent[tuple[int, str, int], _Holder] = Recent()
        self._datagrams: Recent[tuple[int, int], _Holder] = Recent()
        self._local_addresses: Recent[bytes, None] = Recent()

    def resolve(self, connections: Sequence[Connection]) -> list[FlowKey]:
        """Whose each connection is, as what, and with whom: one for each."""
        self.host.look_again()
        for connection in connections:
            self._note(connection)
        return [self._flow_key(connection) for connection in connections]

    def holder(self, ends: bytes) -> int:
        """The process that was seen at these ends (`connections.ends_key`), by pid; 0 if none was."""
        found = self._ends.get(ends)
        return found.process.pid if found else 0

    def remember(self, connections: Sequence[Connection], folded: Folded) -> None:
        """The ends of all connections that the given ones stand for."""
        holders = [_Holder(each.process, each.name, each.role) for each in connections]
        groups = folded.group[-REMEMBERED:].tolist()
        for ends, group in zip(folded.ends[-REMEMBERED:], groups, strict=False):
            self._ends.note(ends, holders[group])

    def _note(self, c: Connection) -> None:
        holder = _Holder(c.process, c.name, c.role)
        if c.transport == "unix":
            self._sockets.note(c.inode, holder)
            if c.peer:
                self._facing.note(c.peer, holder)
            return
        if c.local.known:
            self._local_addresses.note(c.local.address, None)
        if c.local.known and c.local.port and c.remote.port:  # else of several connections, or of none
            self._ends.note(ends_key(c.transport, _where(c), c.local, c.remote), holder)
        if c.role == "server":
            self._servers.note((_where(c), c.transport, c.local.port), holder)
        if c.transport == "udp" and not c.remote.known:
            self._datagrams.note((c.netns, c.local.port), holder)

    def _flow_key(self, c: Connection) -> FlowKey:
        other = self._other(c)
        role = c.role or self._role(c, other)
        if other:
            peer = Peer(other.process, other.name, local=True)
        elif c.transport == "unix":
            peer = Peer(local=True)
        else:
            address = address_text(c.remote.address) if c.remote.known else ""
            peer = Peer(None, "", address, c.remote.port if role == "client" else 0, self._is_local(c.remote))
        return FlowKey(c.process, c.name, role, c.transport, peer)

    def _other(self, c: Connection) -> _Holder | None:
        if c.transport == "unix":
            return self._sockets.get(c.peer) or self._facing.get(c.inode)
        if not c.remote.known:
            return None
        found = self._ends.get(ends_key(c.transport, _where(c), c.remote, c.local))
        if found or not self._is_local(c.remote):
            return found
        if c.transport == "udp":  # at an address of its own, or at all of them
            found = self._datagrams.get((c.netns, c.remote.port))
        return found or self._servers.get((_where(c), c.transport, c.remote.port))

    def _role(self, c: Connection, other: _Holder | None) -> str:
        if other and other.role:
            return "client" if other.role == "server" else "server"
        if (_where(c), c.transport, c.local.port) in self._servers:
            return "server"
        listens = c.transport != "unix" and self.host.listens(c.process.pid, c.netns, c.transport, c.local.port)
        return "server" if listens else "client"

    def _is_local(self, end: End) -> bool:
        if not end.known:
            return False
        return end.loopback or end.address in self._local_addresses or self.host.has_address(end.address)


def _where(c: Connection) -> int:
    """Loopback addresses are those of one network namespace; all others may lead from one to another."""
    return c.netns if c.local.loopback or c.remote.loopback else 0
