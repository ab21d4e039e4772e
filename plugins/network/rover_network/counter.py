"""The loaded and attached network program, and what it has counted."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rover_bpf.epochs import GROWS, NO_PREALLOC, settle, warm
from rover_bpf.loader import load
from rover_bpf.maps import Array, BpfMap
from rover_bpf.plans import Plan
from rover_bpf.program import Program
from rover_bpf.source import ProgramSource
from rover_bpf.targets import Targets
from rover_core.api import TlsLibrary
from rover_core.errors import RoverError
from rover_core.logs import get_logger
from rover_network.calls import kinds
from rover_network.capture import FUNCTIONS as CAPTURE
from rover_network.capture import NOTHING, TLS_FUNCTIONS, CaptureMaps, Layer7, extensions
from rover_network.dropreasons import not_specified
from rover_network.packetprobes import FUNCTIONS as PACKETS
from rover_network.packetprobes import MEMBERS as OF_PACKETS
from rover_network.probes import FUNCTIONS, Probes, attach_probes
from rover_network.rows import CONFIG, CONNECTION, KEY, REASON, ROW, STREAM, TALLIES
from rover_network.tls.finder import TlsProbes
from rover_network.tls.programs import PROGRAMS

log = get_logger("network")
PROGRAM = Path(__file__).with_name("network.bpf.c")
MEMBERS = (
    ("task_struct", "group_leader"),
    ("task_struct", "start_boottime"),
    ("task_struct", "comm"),
    ("task_struct", "files"),
    ("files_struct", "fdt"),
    ("fdtable", "max_fds"),
    ("fdtable", "fd"),
    ("file", "f_inode"),
    ("file", "private_data"),
    ("inode", "i_mode"),
    ("socket", "sk"),
    ("socket_alloc", "socket"),
    ("socket_alloc", "vfs_inode.i_ino"),
    ("sock", "sk_socket"),
    ("sock", "sk_protocol"),
    ("sock", "__sk_common.skc_family"),
    ("sock", "__sk_common.skc_num"),
    ("sock", "__sk_common.skc_state"),
    ("sock", "__sk_common.skc_dport"),
    ("sock", "__sk_common.skc_daddr"),
    ("sock", "__sk_common.skc_rcv_saddr"),
    ("sock", "__sk_common.skc_v6_daddr"),
    ("sock", "__sk_common.skc_v6_rcv_saddr"),
    ("sock", "__sk_common.skc_net"),
    ("net", "ns.inum"),
    ("unix_sock", "peer"),
    ("unix_sock", "addr"),
    ("tcp_sock", "srtt_us"),
    ("sk_buff", "cb"),
    ("sk_buff", "sk"),
    ("tcp_skb_cb", "tcp_gso_segs"),
    *OF_PACKETS,
)
_GROWING = {"ROVER_ROWS": "65536", "ROVER_HASH_FLAGS": str(NO_PREALLOC)}
_PREALLOCATED = {"ROVER_ROWS": "8192", "ROVER_HASH_FLAGS": "0"}


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted between two collects.

    keys, rows: shape (n,), dtypes KEY and ROW. reasons: (tgid, skb drop reason) -> packets. tally: what happened in
    that time, by the names of TALLIES. uring: processes that use io_uring, by pid, since the start. evicted:
    connections that had to be forgotten to make room; their role may no longer be known. lost: records that ended
    with their worker when this was recorded. exchanges: keys and rows of those that the fast path has counted
    (fastpath.py); None where there is none.
    """

    keys: Array
    rows: Array
    reasons: Mapping[tuple[int, int], int]
    tally: Mapping[str, int]
    uring: Collection[int]
    evicted: int
    lost: int = 0
    exchanges: tuple[Array, Array] | None = None


class NetworkCounter:
    """Blocks like its kernel calls do; used by one thread."""

    def __init__(self, without: Collection[Plan] = (), layer7: Layer7 = NOTHING) -> None:
        """Load and attach. Raises RoverError with the reason."""
        self._program = _load(layer7)
        try:
            self.capture = CaptureMaps(self._program, layer7)
            self._open_maps()
            warm(self._rows)
            self._without = without
            self.attach()
        except BaseException:
            self._program.close()
            raise

    def attach(self) -> None:
        """Begin to count; what was counted before stays. RoverError says why nothing can be."""
        self.probes: Probes = attach_probes(self._program, self._without)
        self._configure()
        for number, kind in kinds(self.probes.lengths).items():
            self._kinds.update(number, kind)

    def detach(self) -> None:
        """Stop counting. What is in the kernel can still be collected."""
        self.probes.detach()

    def _open_maps(self) -> None:
        self._rows, self._shared = (
            [self._map(f"rover_{kind}_{epoch}", KEY, ROW) for epoch in (0, 1)] for kind in ("rows", "shared")
        )
        self._targets = Targets(self._program.maps)
        self._named = self._map("rover_targets", "<u4", "<u4")
        self._ours: frozenset[int] = frozenset()
        self._config = self._map("rover_config", "<i4", CONFIG)
        self._kinds = self._map("rover_kinds", "<u4", "<u4")
        self._reasons = self._map("rover_reasons", REASON, "<u8")
        self._uring = self._map("rover_uring", "<u4", "<u4")
        self._mapped = self._map("rover_mapped", "<u4", "<u4")
        self._connections = self._map("rover_connections", KEY, CONNECTION)
        self._renamed = self._map("rover_renamed", KEY, "<u4")
        self._renames = False
        self._tally_map = self._map("rover_tally", "<i4", "<u8")
        self._epoch, self._all, self._generation = 0, False, 1
        self._last_tally = dict.fromkeys(TALLIES, 0)
        self._rows_before = 0
        self._evicted = 0

    def _map(self, name: str, key: Any, value: Any) -> BpfMap:
        return BpfMap(self._program.maps[name], key, value)

    def _configure(self) -> None:
        layer7 = self.capture.active, len(self.capture.rings)
        flags = int(self._all), int(self.probes.lengths), int(self._renames)
        self._config.update(0, (self._epoch, *flags, self._generation, *layer7))

    def watch(self, pids: Iterable[int]) -> None:
        """Count these processes too. RoverError if there are too many."""
        self._targets.add(pids)

    def unwatch(self, pids: Iterable[int]) -> None:
        self._targets.discard(pids)
        self._leave_out(self._ours)
        self._forget_who_is_watched()

    def leave_out(self, pids: Collection[int]) -> None:
        """Who is not counted where every process is, unless it is watched by name: ourselves."""
        ours = frozenset(pids)
        if ours != self._ours:
            self._targets.discard(pid for pid in self._ours - ours if not self._watched(pid))
            self._ours = ours
            self._leave_out(ours)
            self._forget_who_is_watched()

    def _leave_out(self, pids: Collection[int]) -> None:
        for pid in pids:
            if not self._watched(pid):
                self._named.update(pid, 0)

    def _watched(self, pid: int) -> bool:
        said = self._named.lookup(pid)
        return said is not None and bool(said)

    def watch_all(self, everything: bool) -> None:
        self._all = everything
        self._forget_who_is_watched()

    def _forget_who_is_watched(self) -> None:
        """The kernel program remembers it of each thread, by generation."""
        self._generation += 1
        self._configure()

    def mapped(self) -> list[int]:
        """Processes that have mapped files' code since the last call, by pid."""
        pids: list[int] = self._mapped.drain()[0].tolist()
        return pids

    def tls_probes(self, libraries: Sequence[TlsLibrary]) -> TlsProbes:
        """Probes of libraries that encrypt connections, none yet; for the caller to close before this."""
        return TlsProbes(self._program, libraries if self.capture.active else ())

    def ask_again(self, connection: tuple[int, int, int]) -> None:
        """What a connection (its inode, process and peer) speaks is to be found out anew.

        Messages that pass at this moment may be counted at a wrong position, which readers take for a gap.
        """
        inode, tgid, peer = connection
        key = np.array((inode, tgid, peer), KEY)
        known = self._connections.lookup(key)
        if known is not None:
            generation = known["stream"]["generation"] + 1
            known["stream"] = np.zeros((), STREAM)
            known["stream"]["generation"] = generation
            known["facts"]["speaks"] = 0
            self._connections.update(key, known)

    def rename(self, connection: tuple[int, int, int], protocol: int) -> None:
        """A connection goes on with another protocol, by the kernel's number. It says so itself at its next call."""
        self._renamed.update(np.array(connection, KEY), protocol)
        if not self._renames:
            self._renames = True
            self._configure()

    def fill(self) -> float:
        """How full the rows in use are, 0..1."""
        added = self._read_tally()["new_rows"] - self._rows_before
        return added / self._rows[0].info.max_entries

    def collect(self) -> Counted:
        """Everything counted since the last call."""
        old, self._epoch = self._epoch, 1 - self._epoch
        self._configure()
        fast = self.capture.fast
        if fast:
            fast.flip()
        settle()
        self._rows_before = self._read_tally()["new_rows"]  # those of the other set, while this one is emptied, count
        keys, rows = self._shared[old].drain(self._rows[old].drain())
        tally = self._read_tally()
        delta = {name: tally[name] - self._last_tally[name] for name in TALLIES}
        self._last_tally = tally
        return Counted(
            keys,
            rows,
            self._drain_reasons(),
            delta,
            self._uring.read()[0].tolist(),
            self._evictions(tally),
            exchanges=fast.drain() if fast else None,
        )

    def _drain_reasons(self) -> dict[tuple[int, int], int]:
        found, counts = self._reasons.drain()
        reasons: dict[tuple[int, int], int] = {}
        pairs = zip(found["key"]["tgid"].tolist(), found["reason"].tolist(), strict=True)
        for pair, count in zip(pairs, counts.tolist(), strict=True):
            reasons[pair] = reasons.get(pair, 0) + count
        return reasons

    def _evictions(self, tally: Mapping[str, int]) -> int:
        """New ones since the last call. Counting what is left is only worth it where there may be some."""
        table = self._connections.info
        expected = tally["new_connections"] - tally["gone_connections"] - self._evicted
        if expected <= table.max_entries * 0.9:
            return 0
        evicted = expected - len(self._connections.read()[0])
        self._evicted += evicted
        return evicted

    def _read_tally(self) -> dict[str, int]:
        _, values = self._tally_map.read()
        totals: Sequence[int] = values.reshape(len(TALLIES), -1).sum(axis=1).tolist()
        return dict(zip(TALLIES, totals, strict=True))

    def close(self) -> None:
        self.detach()
        self.capture.close()
        self._program.close()

    def __enter__(self) -> "NetworkCounter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _load(layer7: Layer7) -> Program:
    """The best form of the program that this kernel takes: maps that grow, or preallocated ones."""
    reason = {"ROVER_REASON_NOT_SPECIFIED": str(not_specified())}
    if not layer7.fast:
        reason["ROVER_FAST_CONNECTIONS"] = "1024"  # nobody needs them
    layers = {**FUNCTIONS, **CAPTURE, **PACKETS, **TLS_FUNCTIONS, **PROGRAMS}
    functions = layers if layer7.protocols else FUNCTIONS

    def source(members: tuple[tuple[str, ...], ...], defines: Mapping[str, str]) -> ProgramSource:
        return ProgramSource(PROGRAM, functions, members, {**defines, **reason}, extensions=extensions(layer7))

    try:
        return load(source((*MEMBERS, GROWS), _GROWING))
    except RoverError as error:
        if ".".join(GROWS) not in str(error):
            raise
    return load(source(MEMBERS, _PREALLOCATED))
