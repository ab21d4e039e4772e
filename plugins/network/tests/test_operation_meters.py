"""Operations become the contract's meters: names, labels, units, buckets."""

import pytest

from rover_core.model import (
    Distribution,
    Entity,
    FlowKey,
    Histogram,
    Meter,
    Operation,
    OperationKey,
    Peer,
    ProcessKey,
)
from rover_network.intervals import DURATION_BOUNDS, DURATION_BOUNDS_MS, SIZE_BOUNDS
from rover_network.operationmeters import in_ms, make_operation_meters

SHOP, STOCK = ProcessKey(1, 1), ProcessKey(2, 2)
ENTITIES = {SHOP: (Entity("L", "shop", "i", "shop"),), STOCK: (Entity("L", "shop", "i", "stock"),)}
MS = 1_000_000


def spread(values: list[int], bounds: tuple[int, ...]) -> Distribution:
    counts = [0] * len(bounds)
    for value in values:
        counts[max([0, *(at for at, bound in enumerate(bounds) if bound <= value)])] += 1
    return Distribution(len(values), sum(values), Histogram(tuple(map(float, bounds)), tuple(counts)))


def operation(name: str = "GET /a", role: str = "client", **changed: object) -> Operation:
    flow = FlowKey(SHOP, "shop", role, "tcp", Peer(STOCK, "stock", local=True))
    fields: dict[str, object] = {
        "exchanges": 3,
        "requests": 3,
        "errors": 1,
        "statuses": {"200": 2, "500": 1},
        "durations": spread([500_000, 12 * MS, 12 * MS], DURATION_BOUNDS),
        "request_sizes": spread([100, 100, 600], SIZE_BOUNDS),
        "response_sizes": Distribution(),
    }
    key = OperationKey(flow, "http1", name.split(" ")[0], name)
    return Operation(key, "http", "10.0.0.2:80", **{**fields, **changed})  # type: ignore[arg-type]


def made(*operations: Operation) -> dict[tuple[str, str], Meter]:
    meters = make_operation_meters(operations, "rover_net_p", lambda process: ENTITIES.get(process, ()))
    more = [str(meter.labels[5][1]) if len(meter.labels) > 5 else "" for meter in meters]
    names = [meter.name.removeprefix("rover_net_p_http1_") for meter in meters]
    return dict(zip(zip(names, more, strict=True), meters, strict=True))


def test_names_values_and_labels() -> None:
    """Broken: a SkyWalking backend has no rule for what we send, or another unit."""
    meters = made(operation(), operation("POST /b"))
    values = {name: meter.value for name, meter in meters.items() if not isinstance(meter.value, Histogram)}
    expected = {
        ("request_counter", ""): 6.0,
        ("error_counter", ""): 2.0,
        ("response_status_counter", "200"): 4.0,
        ("response_status_counter", "500"): 2.0,
        ("operation_counter", "GET"): 3.0,
        ("operation_counter", "POST"): 3.0,
        ("request_package_size_avg", ""): 800 / 3,
        ("client_duration_avg", ""): 24.5 / 3,
    }
    assert values == pytest.approx(expected)
    assert {name for name, _ in meters} - {name for name, _ in values} == {
        "request_package_size_histogram",
        "client_duration_histogram",
    }
    labels = meters["response_status_counter", "500"].labels
    assert [name for name, _ in labels[2:]] == ["side", "protocol", "is_ssl", "code"]
    assert labels[:2] == (("client_process_id", ENTITIES[SHOP][0]), ("server_process_id", ENTITIES[STOCK][0]))
    assert labels[2:5] == (("side", "client"), ("protocol", "http"), ("is_ssl", "false"))


def test_a_server_s_durations_are_its_own() -> None:
    """Broken: client and server durations are the same meter."""
    assert ("server_duration_avg", "") in made(operation(role="server"))
    assert not make_operation_meters([operation()], "x", lambda process: ())


def test_the_contract_s_buckets() -> None:
    """Broken: the backend's percentiles are off, since a value is in a bucket that is not its own."""
    for value, bucket in (
        (0, 0),
        (MS - 1, 0),
        (MS, 0),
        (2 * MS - 1, 0),
        (2 * MS, 1),
        (12 * MS, 3),
        (99_999 * MS, 44),
    ):
        histogram = in_ms(spread([value], DURATION_BOUNDS).histogram)  # type: ignore[arg-type]
        assert histogram.bounds == tuple(map(float, DURATION_BOUNDS_MS))
        assert histogram.counts.index(1) == bucket, value
    assert len(DURATION_BOUNDS_MS) == 45
    assert len(SIZE_BOUNDS) == 25
    sizes = made(operation())["request_package_size_histogram", ""].value
    assert isinstance(sizes, Histogram)
    assert sizes.counts[:3] == (2, 1, 0)
