"""Meters as the contract has them (sections 5.1 to 5.3)."""

from dataclasses import replace

import pytest

from rover_core.model import Entity, Figure, Flow, FlowKey, Histogram, Meter, Peer, ProcessKey
from rover_network.flows import BOUNDS
from rover_network.meters import make_meters

SHOP = Entity("K8S_SERVICE", "shop", "pod-1", "shop")
STOCK = Entity("K8S_SERVICE", "shop", "pod-1", "stock")
OTHER = Entity("K8S_SERVICE", "bank", "pod-2", "bank")
MINE, THEIRS, FAR = ProcessKey(10, 1), ProcessKey(20, 2), ProcessKey(30, 3)
STOCKROOM = Peer(THEIRS, "stock", local=True)
ENTITIES = {MINE: (SHOP,), THEIRS: (STOCK,), FAR: (OTHER,)}


def histogram(bucket: int, count: int) -> Histogram:
    return Histogram(BOUNDS, tuple(count if at == bucket else 0 for at in range(len(BOUNDS))))


def flow(role: str = "client", peer: Peer = STOCKROOM, **counts: int) -> Flow:
    figures = {
        "write": Figure(4, 400, 2, 3_000, histogram(0, 2)),
        "read": Figure(1, 0, 0, 0),
        "write_rtt": Figure(4, 0, 4, 8_000_000, histogram(9, 4)),
        "close": Figure(1, 0, 1, 20_000, histogram(1, 1)),
    }
    return Flow(FlowKey(MINE, "shop", role, "tcp", peer), "10.0.0.9:4711", 2, figures, counts)


def meters(*flows: Flow) -> dict[str, Meter]:
    made = make_meters(flows, "rover_net_p", lambda process: ENTITIES.get(process, ()))
    assert len({(each.name, each.labels, each.entity) for each in made}) == len(made), "each once"
    return {each.name: each for each in made}


def test_names_units_and_averages() -> None:
    """Broken: the backend gets sums for averages, milliseconds for microseconds, or meters of nothing."""
    made = meters(flow(retransmits=3, drops=2, errors=9))
    values = {name: each.value for name, each in made.items() if isinstance(each.value, float)}
    assert values == {
        "rover_net_p_client_write_counts_counter": 4,
        "rover_net_p_client_write_bytes_counter": 400,
        "rover_net_p_client_write_exe_time_counter": 1_500,  # of the two whose time is known
        "rover_net_p_client_read_counts_counter": 1,
        "rover_net_p_client_write_rtt_counts_counter": 4,
        "rover_net_p_client_write_rtt_exe_time_counter": 2_000,  # microseconds
        "rover_net_p_client_close_counts_counter": 1,
        "rover_net_p_client_close_exe_time_counter": 20_000,
        "rover_net_p_client_retransmit_counts_counter": 3,
        "rover_net_p_client_drop_counts_counter": 2,
    }
    assert set(made) - set(values) == {
        "rover_net_p_client_write_exe_time_histogram",
        "rover_net_p_client_write_rtt_histogram",
        "rover_net_p_client_close_exe_time_histogram",
    }


@pytest.mark.parametrize("role", ["client", "server"])
def test_every_meter_of_the_contract_and_no_other(role: str) -> None:
    """Broken: a figure that the backend draws is missing, or has another name (the table of contract section 5.2)."""
    counts, amounts, times, histogram_of = (
        {"write", "read", "write_rtt", "connect", "close", "retransmit", "drop"},
        {"write", "read"},
        {"write", "read", "write_rtt", "connect", "close"},
        {"write_rtt", "write_exe_time", "read_exe_time", "connect_exe_time", "close_exe_time"},
    )
    expected = {
        *(f"{base}_counts_counter" for base in counts),
        *(f"{base}_bytes_counter" for base in amounts),
        *(f"{base}_exe_time_counter" for base in times),
        *(f"{base}_histogram" for base in histogram_of),
    }
    timed = {name: Figure(2, 0, 2, 30_000, histogram(1, 2)) for name in ("write_rtt", "connect", "close")}
    moved = {name: Figure(2, 70, 2, 30_000, histogram(1, 2)) for name in ("write", "read")}
    whole = replace(flow(role, retransmits=1, drops=1, errors=1), figures=timed | moved)
    assert {name.removeprefix(f"rover_net_p_{role}_") for name in meters(whole)} == expected


def test_what_came_to_nothing_is_not_sent() -> None:
    """Broken: a backend's averages are drawn down by round trips of less than a microsecond."""
    figures = {"write_rtt": Figure(3, 0, 3, 0, histogram(0, 3))}
    made = meters(replace(flow(), figures=figures))
    assert set(made) == {"rover_net_p_client_write_rtt_counts_counter", "rover_net_p_client_write_rtt_histogram"}


def test_buckets_begin_at_their_bounds() -> None:
    """Broken: a bucket says which times are below it, or a bound differs from the contract's."""
    milliseconds = """0 0.01 0.05 0.1 0.5 1 1.2 1.5 1.7 2 2.5 3 5 7 10 13 16 20 25 30 35 40 45 50 70 100 150 200 300
    500 1000 2000 3000 5000"""
    assert [bound / 1e6 for bound in BOUNDS] == [float(word) for word in milliseconds.split()]


def test_histograms_have_all_34_buckets_in_order() -> None:
    """Broken: empty buckets are left out, or the round-trip time's are in nanoseconds."""
    made = meters(flow())
    write, rtt = (made[f"rover_net_p_client_{name}_histogram"].value for name in ("write_exe_time", "write_rtt"))
    assert isinstance(write, Histogram)
    assert isinstance(rtt, Histogram)
    assert len(write.bounds) == len(write.counts) == 34
    assert list(write.bounds) == sorted(write.bounds)
    assert write.bounds[:4] == (0, 10_000, 50_000, 100_000)
    assert write.bounds[-1] == 5_000_000_000
    assert rtt.bounds == tuple(bound / 1000 for bound in write.bounds)
    assert rtt.counts[9] == 4


def test_labels_in_order_with_the_peer_of_the_same_instance() -> None:
    """Broken: the backend cannot tell which processes a line of its topology connects."""
    (labels,) = {each.labels for each in meters(flow()).values()}
    assert labels == (
        ("client_process_id", SHOP),
        ("server_process_id", STOCK),
        ("side", "client"),
        ("protocol", "unknown"),
        ("is_ssl", "false"),
    )
    (labels,) = {each.labels for each in meters(flow("server")).values()}
    assert labels[:3] == (("server_process_id", SHOP), ("client_process_id", STOCK), ("side", "server"))


def test_what_is_encrypted_is_said_so() -> None:
    """Broken: a backend draws an https call as http."""
    plain = flow()
    secret = replace(plain, key=replace(plain.key, peer=Peer(address="10.0.0.9")), ssl=True, protocol="http")
    (labels,) = {each.labels for each in meters(secret).values()}
    assert labels[3:] == (("protocol", "http"), ("is_ssl", "true"))
    assert (plain + secret).ssl, "sticky: contract section 5.4"


def test_other_peers_are_local_or_an_address() -> None:
    """Broken: processes of another instance are claimed for this one, or strangers have no address."""
    of_others = meters(flow(peer=Peer(FAR, "bank", local=True)))
    far = meters(flow("server", Peer(address="10.0.0.9")))
    assert next(iter(of_others.values())).labels[1] == ("server_local", "true")
    assert next(iter(far.values())).labels[1] == ("client_address", "10.0.0.9:4711")


def test_flows_of_equal_labels_are_one() -> None:
    """Broken: TCP and UDP with one peer make two meters of one name, of which a backend keeps the last."""
    udp = Flow(FlowKey(MINE, "shop", "client", "udp", Peer(FAR, "bank", local=True)), "", 1, flow().figures, {})
    made = meters(flow(peer=Peer(local=True)), udp)
    assert made["rover_net_p_client_write_counts_counter"].value == 8


def test_who_is_no_entity_has_no_meters() -> None:
    """Broken: the backend gets meters of processes that it does not know."""
    assert make_meters([flow()], "p", lambda process: ()) == []
