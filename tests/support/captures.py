"""Network captures as parsers want them: what each connection carried, in order, with the gaps of the capture.

`captured(protocol)` lists the published captures beside the checkout; `flows(file)` reads one.
`recorded(file, folder)` reads one of our own.
"""

import gzip
import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import dpkt

FOLDER = Path(__file__).parents[3] / "shared" / "fixtures" / "pcap"
_CLIENT, _SERVER = 0, 1
_WRAP = 1 << 32


@dataclass(frozen=True, slots=True)
class Published:
    """A published capture. messages: what an independent dissector found in it (`../shared/fixtures/README.md`)."""

    file: Path
    about: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.file.parent.name}/{self.file.name}"

    @property
    def messages(self) -> list[dict[str, Any]]:
        expected = self.file.with_suffix(".expected.jsonl")
        lines = expected.read_text().splitlines() if expected.exists() else []
        return [json.loads(line, parse_float=Decimal) for line in lines]


def captured(protocol: str) -> list[Published]:
    """The captures in which that protocol (`http`) is found; none where the folder is absent."""
    index = FOLDER / "captures.json"
    listed = json.loads(index.read_text())["captures"] if index.exists() else []
    return [Published(FOLDER / each["file"], each) for each in listed if protocol in each["protocols"]]


def disagreements(
    where: str, what: str, theirs: Sequence[Mapping[str, Any]], ours: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """A line for each of our fields that the dissector has otherwise; one alone if it counts other messages.

    where: the flow; what: the messages' kind, in the plural. Fields that we have not are not compared.
    """
    if len(theirs) != len(ours):
        yield f"{where}: {len(theirs)} {what}, found {len(ours)}"
        return
    for their, our in zip(theirs, ours, strict=True):
        for key in [key for key, value in our.items() if their.get(key) != value]:
            yield f"frame {their['frame']}: {key} {their.get(key)}, found {our[key]}"


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of one direction (0: from the client) and how many behind them are missing from the capture."""

    direction: int
    data: bytes
    gap: int
    timestamp_ns: int
    frame: int


@dataclass(slots=True)
class Flow:
    """A TCP connection or a UDP conversation. index: the dissector's number of it, for each transport from 0.

    client: who began it, as far as the capture shows; else who sent the first packet of it, and `begun` is False.
    """

    transport: str
    index: int
    client: str
    server: str
    begun: bool = False
    pieces: list[Piece] = field(default_factory=list)
    halves: tuple["_Half", "_Half"] = field(default_factory=lambda: (_Half(_CLIENT), _Half(_SERVER)))
    last: tuple[int, int] = (0, 0)

    def turned(self) -> "Flow":
        """The same with the sides exchanged."""
        turned = [
            Piece(1 - each.direction, each.data, each.gap, each.timestamp_ns, each.frame) for each in self.pieces
        ]
        return Flow(self.transport, self.index, self.server, self.client, True, turned)


@dataclass(slots=True)
class _Half:
    """Reassembly of one direction: the next sequence number, and segments that came before their time."""

    direction: int
    expected: int | None = None
    early: dict[int, bytes] = field(default_factory=dict)
    known: int | None = None  # what the other side has, but for a last byte that may be the FIN

    def segment(self, sequence: int, data: bytes, timestamp_ns: int, frame: int) -> Iterator[Piece]:
        if self.expected is None:
            self.expected = sequence
        if len(data) > len(self.early.get(sequence, b"")):
            self.early[sequence] = data
        if self._ahead(sequence) == 1 and self.known == self.expected:  # data follow: it was no FIN
            yield from self._skip(1, timestamp_ns, frame)
        yield from self.ready(timestamp_ns, frame)

    def ready(self, timestamp_ns: int, frame: int) -> Iterator[Piece]:
        while self.early and self.expected is not None:
            sequence = min(self.early, key=self._ahead)
            ahead = self._ahead(sequence)
            if ahead > 0:
                return
            data = self.early.pop(sequence)[-ahead if ahead else 0 :]
            if data:
                self.expected = (self.expected + len(data)) % _WRAP
                yield Piece(self.direction, data, 0, timestamp_ns, frame)

    def acknowledged(self, sequence: int, timestamp_ns: int, frame: int) -> Iterator[Piece]:
        """The other side has everything up to here: what has not been seen by now never will be."""
        if self.expected is None:
            return
        self.known = sequence
        while self.early:
            hole = self._ahead(min(self.early, key=self._ahead))
            if hole <= 0 or hole > self._ahead(sequence):
                break
            yield from self._skip(hole, timestamp_ns, frame)
        if not self.early and 0 < (hole := self._ahead(sequence)) < _WRAP >> 2:
            yield from self._skip(hole, timestamp_ns, frame)

    def rest(self, timestamp_ns: int, frame: int) -> Iterator[Piece]:
        """What waits for a segment that the capture does not have."""
        while self.early:
            yield from self._skip(self._ahead(min(self.early, key=self._ahead)), timestamp_ns, frame)

    def _skip(self, hole: int, timestamp_ns: int, frame: int) -> Iterator[Piece]:
        assert self.expected is not None
        self.expected = (self.expected + hole) % _WRAP
        yield Piece(self.direction, b"", hole, timestamp_ns, frame)
        yield from self.ready(timestamp_ns, frame)

    def _ahead(self, sequence: int) -> int:
        assert self.expected is not None
        distance = (sequence - self.expected) % _WRAP
        return distance - _WRAP if distance >= _WRAP >> 1 else distance


def flows(file: Path) -> list[Flow]:
    """Every TCP connection and UDP conversation with data, in the order of their first packets."""
    current: dict[tuple[str, frozenset[str]], Flow] = {}
    found: list[Flow] = []
    for frame, timestamp_ns, packet, source, target in _packets(file):
        transport = "tcp" if isinstance(packet, dpkt.tcp.TCP) else "udp"
        key = (transport, frozenset((source, target)))
        flow = current.get(key)
        if flow is None or _begins_anew(flow, packet, source):
            index = sum(each.transport == transport for each in found)
            flow = current[key] = Flow(transport, index, source, target)
            found.append(flow)
        if transport == "udp":
            direction = _CLIENT if source == flow.client else _SERVER
            if packet.data:
                flow.pieces.append(Piece(direction, bytes(packet.data), 0, timestamp_ns, frame))
        else:
            _add_segment(flow, packet, source, timestamp_ns, frame)
            flow.last = timestamp_ns, frame
    for flow in found:
        flow.pieces += [piece for half in flow.halves for piece in half.rest(*flow.last)]
    return [flow for flow in found if flow.pieces]


def recorded(file: Path, folder: Path) -> list[Flow]:
    """The same of a capture that is packed with gzip. folder: for its content."""
    plain = folder / file.name.removesuffix(".gz")
    plain.write_bytes(gzip.decompress(file.read_bytes()))
    return flows(plain)


def _begins_anew(flow: Flow, packet: Any, source: str) -> bool:
    if not isinstance(packet, dpkt.tcp.TCP) or packet.flags & 0x12 != dpkt.tcp.TH_SYN:
        return False
    half = flow.halves[_CLIENT if source == flow.client else _SERVER]
    return bool(flow.pieces) and half.expected != (packet.seq + 1) % _WRAP


def _add_segment(flow: Flow, packet: Any, source: str, timestamp_ns: int, frame: int) -> None:
    direction = _CLIENT if source == flow.client else _SERVER
    half, other = flow.halves[direction], flow.halves[1 - direction]
    if packet.flags & dpkt.tcp.TH_SYN:
        if packet.flags & dpkt.tcp.TH_ACK and direction == _CLIENT:  # the answer is the first packet captured
            flow.client, flow.server, flow.halves = flow.server, flow.client, (other, half)
            half.direction, other.direction = _SERVER, _CLIENT
        flow.begun = True
        half.expected = (packet.seq + 1) % _WRAP
        return
    if packet.flags & dpkt.tcp.TH_ACK:
        if other.expected is None:
            other.expected = packet.ack
        fin = 1  # counts as a byte, which may be the one acknowledged
        flow.pieces += other.acknowledged((packet.ack - fin) % _WRAP, timestamp_ns, frame)
    if packet.data and not (len(packet.data) == 1 and half.expected is not None and half._ahead(packet.seq) == -1):
        flow.pieces += half.segment(packet.seq, bytes(packet.data), timestamp_ns, frame)


def _packets(file: Path) -> Iterator[tuple[int, int, Any, str, str]]:
    """Frame number, time, TCP or UDP packet, its source and target as `address:port`."""
    fragments: dict[tuple[bytes, bytes, int], dict[int, bytes]] = {}
    with file.open("rb") as opened:
        reader = dpkt.pcap.UniversalReader(opened)
        for frame, (seconds, raw) in enumerate(reader, 1):
            packet = _internet_packet(reader.datalink(), raw)
            inner = _defragmented(fragments, packet)
            if not isinstance(inner, dpkt.tcp.TCP | dpkt.udp.UDP):
                continue
            family = socket.AF_INET6 if isinstance(packet, dpkt.ip6.IP6) else socket.AF_INET
            ends = [socket.inet_ntop(family, address) for address in (packet.src, packet.dst)]
            names = [f"[{end}]" if ":" in end else end for end in ends]
            yield frame, round(seconds * 10**9), inner, f"{names[0]}:{inner.sport}", f"{names[1]}:{inner.dport}"


def _internet_packet(link: int, raw: bytes) -> Any:
    kinds = {dpkt.pcap.DLT_EN10MB: dpkt.ethernet.Ethernet, dpkt.pcap.DLT_LINUX_SLL: dpkt.sll.SLL}
    kinds[dpkt.pcap.DLT_NULL] = dpkt.loopback.Loopback
    if link in kinds:
        return kinds[link](raw).data
    return dpkt.ip6.IP6(raw) if raw[0] >> 4 == 6 else dpkt.ip.IP(raw)


def _defragmented(fragments: dict[tuple[bytes, bytes, int], dict[int, bytes]], packet: Any) -> Any:
    """What the packet carries; of a datagram in fragments all of it with the last one, None before."""
    if isinstance(packet, dpkt.ip.IP) and (packet.mf or packet.offset):
        number, offset, protocol, more = packet.id, packet.offset, packet.p, packet.mf
    elif isinstance(packet, dpkt.ip6.IP6) and dpkt.ip.IP_PROTO_FRAGMENT in packet.extension_hdrs:
        header = packet.extension_hdrs[dpkt.ip.IP_PROTO_FRAGMENT]
        number, offset, protocol, more = header.id, header.frag_off, header.nxt, header.m_flag
    else:
        return getattr(packet, "data", None)
    parts = fragments.setdefault((packet.src, packet.dst, number), {})
    parts[offset * 8] = bytes(packet.data)
    whole = b"".join(parts[at] for at in sorted(parts))
    if more or max(parts) + len(parts[max(parts)]) != len(whole):
        return None
    return dpkt.udp.UDP(whole) if protocol == dpkt.ip.IP_PROTO_UDP else whole
