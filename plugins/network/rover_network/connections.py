"""Drained rows as connections: who holds which end of what."""

import ipaddress
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from rover_bpf.maps import Array
from rover_bpf.stackkind import process_key
from rover_core.model import ProcessKey, endpoint_text
from rover_network.rows import ROLES

AF_UNIX = 1
TCP, UDP = 6, 17
ENDS = np.dtype(
    [
        ("protocol", "u1"),
        ("where", "<u4"),
        ("local", "u1", (16,)),
        ("local_port", "<u2"),
        ("remote", "u1", (16,)),
        ("remote_port", "<u2"),
    ]
)
"""What `ends_key` packs."""
_ENDS = struct.Struct("<BI16sH16sH")
_PROTOCOLS = {"tcp": TCP, "udp": UDP}
_TRANSPORTS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp"}
_NOWHERE = bytes(16)
_NOWHERE_4 = bytes(10) + b"\xff\xff" + bytes(4)


class End(NamedTuple):
    """An address (16 bytes, IPv4 as ::ffff:a.b.c.d) and a port."""

    address: bytes
    port: int

    @property
    def known(self) -> bool:
        return self.address not in (_NOWHERE, _NOWHERE_4)

    @property
    def loopback(self) -> bool:
        return self.address[:13] == b"\0" * 10 + b"\xff\xff\x7f" or self.address == bytes(15) + b"\x01"


class Connection(NamedTuple):
    """A process's use of a socket. inode: of the socket; peer: of the other end of a Unix socket, 0 if not known."""

    process: ProcessKey
    name: str
    inode: int
    transport: str
    role: str
    netns: int
    local: End
    remote: End
    peer: int


def ends_key(transport: str, where: int, local: End, remote: End) -> bytes:
    """Tells connections apart. where: a network namespace, 0 for addresses that are the same in all.

    Without zeros at the end, as numpy gives such bytes.
    """
    ends = _ENDS.pack(_PROTOCOLS.get(transport, 0), where, local.address, local.port, remote.address, remote.port)
    return ends.rstrip(b"\0")


def read_connections(keys: Array, rows: Array) -> Iterator[Connection]:
    """One for each row, in their order. Arrays of one length, dtypes KEY and ROW."""
    facts = rows["facts"]
    locals_, remotes = facts["local"].tobytes(), facts["remote"].tobytes()
    columns = [keys[name].tolist() for name in ("tgid", "inode")]
    names = ("start_ns", "comm", "family", "protocol", "role", "netns", "local_port", "remote_port", "peer")
    columns += [facts[name].tolist() for name in names]
    for at, (tgid, inode, start, comm, family, protocol, role, netns, port, far, peer) in enumerate(
        zip(*columns, strict=True)
    ):
        place = slice(16 * at, 16 * at + 16)
        yield Connection(
            process_key(tgid, start),
            comm.decode(errors="replace"),
            inode,
            "unix" if family == AF_UNIX else _TRANSPORTS.get(protocol, f"protocol {protocol}"),
            ROLES[role],
            netns,
            End(locals_[place], port),
            End(remotes[place], far),
            peer,
        )


def address_text(address: bytes) -> str:
    """`10.0.0.1` of ::ffff:10.0.0.1, else as IPv6 is written."""
    whole = ipaddress.IPv6Address(address)
    return str(whole.ipv4_mapped or whole)


def end_text(end: End) -> str:
    """`10.0.0.1:80`; "" where there is none."""
    return endpoint_text(address_text(end.address), end.port) if end.known else ""
