"""What this host listens on and which addresses are its own, from procfs."""

import ipaddress
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rover_core.procfs import proc_root

_LISTENING = {"tcp": "0A", "udp": "07"}  # include/net/tcp_states.h; an unconnected UDP socket is in TCP_CLOSE
_ADDRESSES_FOR_S = 30.0


class Host:
    """Not for two threads at a time."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = root or proc_root()
        self._ports: dict[tuple[int, str], frozenset[int]] = {}
        self._addresses: frozenset[bytes] = frozenset()
        self._addresses_until_s = 0.0
        self._interfaces: dict[int, dict[int, str]] = {}
        self._interfaces_until_s = 0.0

    def listens(self, pid: int, netns: int, transport: str, port: int) -> bool:
        """Whether a socket waits for others at this port, in the network namespace (by its number) of a process."""
        if transport not in _LISTENING:
            return False
        if (netns, transport) not in self._ports:
            self._ports[netns, transport] = frozenset(self._listening(pid, transport))
        return port in self._ports[netns, transport]

    def look_again(self) -> None:
        """Forget the ports: what listens now is found out when somebody asks."""
        self._ports.clear()

    def facts(self) -> dict[str, Any]:
        """What was asked for since `look_again`, and this namespace's interfaces; for JSON."""
        self.interface(0, self._own_netns, 0)
        ports = [[netns, transport, sorted(ports)] for (netns, transport), ports in self._ports.items()]
        interfaces = [[netns, list(names.items())] for netns, names in self._interfaces.items()]
        return {"ports": ports, "addresses": [address.hex() for address in self._addresses], "interfaces": interfaces}

    def interface(self, pid: int, netns: int, index: int) -> str:
        """The name of a network namespace's interface, "" if it is not known. pid: of a process in there."""
        now_s = time.monotonic()
        if now_s > self._interfaces_until_s:
            self._interfaces.clear()
            self._interfaces_until_s = now_s + _ADDRESSES_FOR_S
        if netns not in self._interfaces:
            self._interfaces[netns] = dict(self._named("self" if netns == self._own_netns else str(pid)))
        return self._interfaces[netns].get(index, "")

    @property
    def _own_netns(self) -> int:
        try:
            return (self._root / "self/ns/net").stat().st_ino
        except OSError:
            return 0

    def _named(self, process: str) -> Iterator[tuple[int, str]]:
        """Of files that each have those interfaces which have an address of theirs."""
        net = self._root / process / "net"
        for line in _lines(net / "if_inet6"):
            yield int(line.split()[1], 16), line.split()[-1]
        for line in (*_lines(net / "dev_mcast"), *_lines(net / "igmp")):
            index, name, *_ = [*line.split(), "", ""]
            if index.isdecimal() and not line[0].isspace():
                yield int(index), name.removesuffix(":")

    def _listening(self, pid: int, transport: str) -> Iterator[int]:
        for name in (transport, f"{transport}6"):
            try:
                with (self._root / str(pid) / "net" / name).open() as lines:
                    next(lines)
                    yield from _ports_in_state(lines, _LISTENING[transport], first=transport == "tcp")
            except (OSError, StopIteration):  # the process is gone, or there is no IPv6
                continue

    def has_address(self, address: bytes) -> bool:
        """Whether one of this host's interfaces has it (16 bytes, IPv4 as ::ffff:a.b.c.d)."""
        now_s = time.monotonic()
        if now_s > self._addresses_until_s:
            self._addresses = frozenset((*self._addresses_4(), *self._addresses_6()))
            self._addresses_until_s = now_s + _ADDRESSES_FOR_S
        return address in self._addresses

    def _addresses_4(self) -> Iterator[bytes]:
        """Of fib_trie: the line of an address is followed by one that says what it is."""
        last = ""
        for line in _lines(self._root / "net/fib_trie"):
            words = line.split()
            if words[-2:] == ["host", "LOCAL"] and last:
                yield bytes(10) + b"\xff\xff" + ipaddress.IPv4Address(last).packed
            last = words[-1] if words and words[0] == "|--" else last

    def _addresses_6(self) -> Iterator[bytes]:
        for line in _lines(self._root / "net/if_inet6"):
            yield bytes.fromhex(line.split()[0])


class RecordedHost(Host):
    """What another one's `facts` say."""

    def take(self, facts: Mapping[str, Any]) -> None:
        """ValueError, KeyError or TypeError for what these are not."""
        self._ports = {(netns, transport): frozenset(ports) for netns, transport, ports in facts["ports"]}
        self._addresses = frozenset(map(bytes.fromhex, facts["addresses"]))
        self._interfaces = {
            netns: {index: str(name) for index, name in names} for netns, names in facts["interfaces"]
        }

    def listens(self, pid: int, netns: int, transport: str, port: int) -> bool:
        return port in self._ports.get((netns, transport), ())

    def look_again(self) -> None:
        pass

    def interface(self, pid: int, netns: int, index: int) -> str:
        return self._interfaces.get(netns, {}).get(index, "")

    def has_address(self, address: bytes) -> bool:
        return address in self._addresses


def _ports_in_state(lines: Iterator[str], state: str, first: bool) -> Iterator[int]:
    """Local ports of /proc/net/tcp or udp. first: those in this state come first (tcp_seq_start), so stop then."""
    for line in lines:
        fields = line.split(None, 4)
        if fields[3] == state:
            yield int(fields[1].rpartition(":")[2], 16)
        elif first:
            return


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
