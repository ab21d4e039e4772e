"""Connections that are alike are added up first: it must make no difference to what is told."""

from pathlib import Path

import numpy as np
import pytest

from rover_bpf.maps import Array
from rover_core.model import Flow, FlowKey
from rover_network import folding
from rover_network.connections import read_connections
from rover_network.flows import make_flows
from rover_network.folding import fold
from rover_network.host import Host
from rover_network.peers import PeerBook
from rover_network.rows import KEY, ROLES, ROW

_HERE = np.frombuffer(bytes(10) + b"\xff\xff\x7f\0\0\x01", np.uint8)
_FAR = np.frombuffer(bytes(10) + b"\xff\xff\x0a\x01\x02\x03", np.uint8)


def counted(connections: int) -> tuple[Array, Array]:
    """Of a client, its server on this host, and a client far away of the same server."""
    keys, rows = np.zeros(3 * connections, KEY), np.zeros(3 * connections, ROW)
    facts = rows["facts"]
    facts["family"], facts["protocol"], facts["start_ns"], facts["netns"] = 2, 6, 10**9, 7
    for at in range(connections):
        mine, served, far = (kind * connections + at for kind in range(3))
        for row, tgid, role, remote in ((mine, 10, "client", _HERE), (served, 20, "server", _HERE)):
            keys[row]["tgid"], facts["role"][row], facts["remote"][row] = tgid, ROLES.index(role), remote
        keys[far]["tgid"], facts["role"][far], facts["remote"][far] = 20, ROLES.index("server"), _FAR
        facts["local_port"][mine] = facts["remote_port"][served] = 20_000 + at
        facts["remote_port"][mine] = facts["local_port"][served] = facts["local_port"][far] = 80
        facts["remote_port"][far] = 30_000 + at
    facts["local"] = _HERE
    keys["inode"] = np.arange(1, len(keys) + 1)
    dice = np.random.default_rng(1)
    for name in ("bytes", "ns"):
        rows["sums"][name] = dice.integers(0, 1 << 40, rows["sums"][name].shape)
    rows["sums"]["histogram"] = dice.integers(0, 9, rows["sums"]["histogram"].shape)
    rows["errors"], rows["drops"] = dice.integers(0, 3, len(rows)), dice.integers(0, 3, len(rows))
    return keys, rows


def flows(keys: Array, rows: Array, book: PeerBook) -> dict[FlowKey, Flow]:
    folded = fold(keys, rows, book.holder)
    connections = list(read_connections(folded.keys, folded.rows))
    book.remember(connections, folded)
    made = make_flows(book.resolve(connections), connections, folded.rows, sizes=folded.sizes)
    return {flow.key: flow for flow in made}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_flows_are_the_same(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: adding up early loses calls, bytes or connections, or mixes up peers."""
    keys, rows = counted(1000)
    monkeypatch.setattr(folding, "FOLD_FROM", 10**9)
    apart = flows(keys, rows, PeerBook(host))
    monkeypatch.setattr(folding, "FOLD_FROM", 0)
    together = flows(keys, rows, PeerBook(host))
    assert len(fold(keys, rows, lambda _: 0).rows) == 3
    assert set(apart) == set(together)
    for key, flow in apart.items():
        other = together[key]
        assert (flow.connections, flow.figures, flow.counts) == (other.connections, other.figures, other.counts)
    assert sum(flow.connections for flow in together.values()) == 3000


def test_an_end_that_was_added_up_earlier_is_still_known(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: of connections that are counted from both sides at different times, the peer is an address only."""
    monkeypatch.setattr(folding, "FOLD_FROM", 0)
    keys, rows = counted(1000)
    mine, served = keys["tgid"] == 10, (keys["tgid"] == 20) & (rows["facts"]["remote_port"] < 30_000)
    book = PeerBook(host)
    flows(keys[mine], rows[mine], book)
    (late,) = flows(keys[served], rows[served], book).values()
    assert late.key.peer.process is not None
    assert (late.key.peer.process.pid, late.connections) == (10, 1000)
