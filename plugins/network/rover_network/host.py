"""What this host listens on and which addresses are its own, from procfs."""

import ipaddress
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

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

    def listens(self, pid: int, netns: int, transport: str, port: int) -> bool:
        """Whether a socket waits for others at this port, in the network namespace (by its number) of a process."""
        if transport not in _LISTENING:
            return False
        if (netns, transport) not in self._ports:
            self._ports[netns, transport] = frozenset(self._listening(pid, transport))
        return port in self._ports[netns, transport]

    def receives_from_anybody(self, pids: Iterable[int] | None) -> bool:
        """Whether one of these processes, or of None any in this network namespace, has an unconnected UDP socket."""
        if pids is None:
            return bool(self._unconnected("self"))
        return any(self._unconnected(pid) & _sockets(self._root / str(pid)) for pid in pids)

    def _unconnected(self, pid: int | str) -> set[str]:
        """Inode numbers, of the network namespace of a process."""
        lines = [line.split() for name in ("udp", "udp6") for line in _lines(self._root / f"{pid}/net/{name}")]
        return {fields[9] for fields in lines if fields[3] == _LISTENING["udp"]}

    def look_again(self) -> None:
        """Forget the ports: what listens now is found out when somebody asks."""
        self._ports.clear()

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


def _ports_in_state(lines: Iterator[str], state: str, first: bool) -> Iterator[int]:
    """Local ports of /proc/net/tcp or udp. first: those in this state come first (tcp_seq_start), so stop then."""
    for line in lines:
        fields = line.split(None, 4)
        if fields[3] == state:
            yield int(fields[1].rpartition(":")[2], 16)
        elif first:
            return


def _sockets(process: Path) -> set[str]:
    """Inode numbers of a process's sockets; none of one that is gone."""
    found = set()
    try:
        for entry in os.scandir(process / "fd"):
            with suppress(OSError):
                found.add(os.readlink(entry).removeprefix("socket:[").removesuffix("]"))
    except OSError:
        pass
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
