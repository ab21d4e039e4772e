"""Profiles and meters as messages."""

import itertools
from typing import Any

import pytest
from skywalking_backend import Backend

from rover_core.model import Completeness, Entity, Frame, Histogram, Loss, Meter, ProcessKey, Profile, SampleType
from rover_core.testing import make_profile, make_sample, make_telemetry
from rover_core.testing.conformance import hostile_profile
from rover_exporter_skywalking.accepted import Accepted, AcceptedOrders
from rover_exporter_skywalking.meters import to_parcel
from rover_exporter_skywalking.orders import Order
from rover_exporter_skywalking.processes import ProcessBook
from rover_exporter_skywalking.profiles import to_parcels
from rover_exporter_skywalking.protocol.meter_pb2 import MeterDataCollection
from rover_exporter_skywalking.protocol.process_pb2 import EBPFProcessReportList
from rover_exporter_skywalking.protocol.profiling_pb2 import EBPFProfilingData
from rover_exporter_skywalking.stacks import StackIds

SHOP, CART = ProcessKey(10, 70), ProcessKey(11, 77)


def accepted(**processes: Any) -> Accepted:
    """An order for two processes with an id each, unless said otherwise."""
    owners = processes.pop("owners", {SHOP: ["p-shop"], CART: ["p-cart"]})
    orders = AcceptedOrders()
    task = orders.accept(Order("task", ("p-shop", "p-cart"), "ON_CPU", 1, 0, 10**18), owners)
    found = orders.find(task.id)
    assert found
    return found


def delivered(*profiles: Profile, to: Accepted) -> Backend:
    """What a backend has of profiles, each parcel being a stream of its own."""
    backend = Backend()
    for profile in profiles:
        for parcel in to_parcels(profile, to)[0]:
            state: dict[str, Any] = {}
            for message in parcel.messages:
                backend.collectProfilingData(EBPFProfilingData.FromString(message), state)
    return backend


def test_stacks_arrive_whole_leaf_first_the_kernels_before_the_users() -> None:
    """Broken: the backend's flame graph is upside down, or mixes kernel and user."""
    profile = make_profile(make_sample(count=3, stack=("k:do_read", "k:entry", "read", "main")))
    (parcel,), lost = to_parcels(profile, accepted())
    (message,) = (EBPFProfilingData.FromString(data) for data in parcel.messages)
    assert [(stack.stackType, list(stack.stackSymbols)) for stack in message.onCPU.stacks] == [
        (0, ["do_read", "entry"]),
        (1, ["read", "main"]),
    ]
    assert message.onCPU.dumpCount == 3
    assert (message.task.taskId, message.task.processId) == ("task", "p-shop")
    assert message.task.profilingStartTime == profile.start_ns // 1_000_000
    assert message.task.currentTime == profile.end_ns // 1_000_000
    assert (parcel.kept, lost) == (3, {})


def test_metadata_comes_first_and_once() -> None:
    """Broken: a stack is attributed to the task before it."""
    samples = [make_sample(stack=(name, "main"), pid=pid) for pid in (10, 11) for name in ("a", "b")]
    parcels, _ = to_parcels(make_profile(*samples), accepted())
    messages = [[EBPFProfilingData.FromString(data) for data in parcel.messages] for parcel in parcels]
    assert [[message.HasField("task") for message in stream] for stream in messages] == [[True, False], [True, False]]
    assert [stream[0].task.processId for stream in messages] == ["p-shop", "p-cart"]


def test_processes_of_one_id_are_one_and_ids_of_one_process_all_get_it() -> None:
    """Broken: a service's second worker is missing, or its second entity."""
    owners = {SHOP: ["a", "b"], CART: ["a"]}
    samples = [make_sample(count=2, pid=10), make_sample(count=5, pid=11)]
    backend = delivered(make_profile(*samples), to=accepted(owners=owners))
    assert backend.folded("task", "a") == {("main", "work"): 7}
    assert backend.folded("task", "b") == {("main", "work"): 2}


def test_equal_stacks_are_one_message_whatever_their_labels() -> None:
    """Broken: of waits in two states at one place, the backend keeps one."""
    from dataclasses import replace

    samples = [replace(make_sample(count=n), labels=(("state", state),)) for n, state in ((2, "a"), (3, "b"))]
    assert delivered(make_profile(*samples), to=accepted()).folded("task") == {("main", "work"): 5}


def test_waits_carry_their_number_and_their_time() -> None:
    """Broken: OFF_CPU shows nanoseconds as counts."""
    from dataclasses import replace

    kinds = (SampleType("delay", "nanoseconds"), SampleType("contentions", "count"))
    profile = make_profile(profiler="OFF_CPU", sample_types=kinds)
    sample = replace(profile.samples[0], values=(5_000_000_000, 4))
    (parcel,), _ = to_parcels(replace(profile, samples=(sample,)), accepted())
    (message,) = (EBPFProfilingData.FromString(data) for data in parcel.messages)
    assert (message.offCPU.switchCount, message.offCPU.duration) == (4, 5_000_000_000)
    assert parcel.kept == 4


def test_a_stack_keeps_its_id_and_no_two_share_one() -> None:
    """Broken: one stack is many to the backend, or two are one."""
    backend = delivered(*(make_profile(end_ns=10**18 + n * 10**9) for n in range(3)), to=accepted())
    assert {ids for *_, ids, _ in backend.rows} == {"1"}
    ids = StackIds()
    stacks = [(kernel, symbols) for kernel in (True, False) for symbols in itertools.product("abc", repeat=8)]
    assert len({ids[stack] for stack in stacks}) == len(stacks)
    assert [ids[stack] for stack in stacks] == list(range(1, len(stacks) + 1))


def test_stack_ids_are_bounded() -> None:
    """Broken: a program with endless stacks fills the agent's memory; or an id is given out again for another."""
    from rover_exporter_skywalking import stacks

    ids = StackIds()
    for number in range(stacks._MOST + 10):
        ids[False, (str(number),)]
    assert len(ids._ids) == stacks._MOST
    assert ids[False, ("0",)] == stacks._MOST + 11


def test_times_never_repeat() -> None:
    """Broken: two flushes within a millisecond are one to the backend, which keeps the first."""
    profile = make_profile()
    backend = delivered(profile, profile, profile, to=accepted())
    assert backend.folded("task") == {("main", "work"): 3}


def test_what_is_sent_twice_counts_once() -> None:
    """Broken: a stream that breaks after half of it was received doubles that half."""
    (parcel,), _ = to_parcels(make_profile(), accepted())
    backend = Backend()
    for _ in range(2):
        for message in parcel.messages:
            backend.collectProfilingData(EBPFProfilingData.FromString(message), {})
    assert backend.folded("task") == {("main", "work"): 1}


def test_frames_without_names_and_samples_without_stacks_still_count() -> None:
    """Broken: time in stripped code disappears from the picture."""
    from dataclasses import replace

    nameless = replace(make_sample(count=2), user=(Frame(None, "libx.so", 8), Frame("main", "shop", 4)))
    empty = replace(make_sample(count=3), user=())
    assert delivered(make_profile(nameless, empty), to=accepted()).folded("task") == {
        ("main", "[MISSING]"): 2,
        ("[MISSING]",): 3,
    }


def test_samples_of_processes_that_nobody_ordered_are_counted_as_lost() -> None:
    """Broken: something vanishes without a cause."""
    parcels, lost = to_parcels(make_profile(make_sample(count=4, pid=99)), accepted())
    assert (parcels, lost) == ([], {Loss.PROCESS_GONE: 4})


def test_hostile_names_and_numbers_can_be_sent() -> None:
    """Broken: one binary with strange names, and nothing of the task is delivered."""
    parcels, _ = to_parcels(hostile_profile(), accepted(owners={ProcessKey(9, 9): ["p"]}))
    messages = [EBPFProfilingData.FromString(data) for parcel in parcels for data in parcel.messages]
    assert all(message.WhichOneof("profiling") == "onCPU" for message in messages), "others the backend throws at"
    assert {message.onCPU.dumpCount for message in messages} == {2**31 - 1}
    assert max(len(data) for parcel in parcels for data in parcel.messages) < 20_000


def test_a_large_profile_is_several_parcels_each_whole() -> None:
    """Broken: a megabyte is sent again for a stream that broke at its end; or a part has no metadata."""
    samples = [make_sample(stack=(f"function_{number}" * 20, "main")) for number in range(3000)]
    parcels, _ = to_parcels(make_profile(*samples), accepted())
    assert len(parcels) > 2
    assert all(EBPFProfilingData.FromString(parcel.messages[0]).HasField("task") for parcel in parcels)
    assert sum(parcel.kept for parcel in parcels) == 3000
    assert max(sum(map(len, parcel.messages)) for parcel in parcels) < 300_000


@pytest.fixture
def book(make_process: Any) -> ProcessBook:
    """Knows shop, cart (of one service and instance) and bank."""
    book, backend = ProcessBook(cluster="eu"), Backend()
    book.update([make_process(name, pid) for pid, name in enumerate(("shop", "bank"), 7)])
    due = book.all()
    book.assign(due, backend.reportProcesses(EBPFProcessReportList(processes=[k.to_report() for k in due])), 1)
    return book


def entity(name: str) -> Entity:
    return Entity("OS_LINUX", f"{name}-service", "host", name)


def collections(*meters: Meter, book: ProcessBook, **fields: Any) -> tuple[list[Any], dict[Loss, int]]:
    parcel, lost = to_parcel(make_telemetry(*meters, **fields), book)
    return [MeterDataCollection.FromString(data) for data in parcel.messages] if parcel else [], lost


def test_meters_are_grouped_by_service_and_instance(book: ProcessBook) -> None:
    """Broken: the backend, which takes a collection for one service's, adds up others' meters."""
    meters = [Meter(entity(name), f"m{n}", (), float(n)) for n, name in enumerate(("shop", "bank", "shop"))]
    first, second = collections(*meters, book=book)[0]
    assert [(data.service, data.serviceInstance) for data in first.meterData] == [
        ("eu::shop-service", "host"),
        ("", ""),
    ]
    assert [data.singleValue.name for data in first.meterData] == ["m0", "m2"]
    assert first.meterData[0].timestamp == make_telemetry().end_ns // 1_000_000
    assert [data.service for data in second.meterData] == ["eu::bank-service"]


def test_labels_keep_their_order_and_entities_become_ids(book: ProcessBook) -> None:
    """Broken: a topology without edges, for want of the processes' ids."""
    labels = (("client_process_id", entity("shop")), ("server_process_id", entity("bank")), ("side", "client"))
    ((collection,), lost) = collections(Meter(entity("shop"), "m", labels, 1.5), book=book)
    value = collection.meterData[0].singleValue
    assert [label.name for label in value.labels] == ["client_process_id", "server_process_id", "side"]
    assert [label.value for label in value.labels] == [
        book.process_id(entity("shop")),
        book.process_id(entity("bank")),
        "client",
    ]
    assert (value.value, lost) == (1.5, {})


def test_histograms_have_all_their_buckets(book: ProcessBook) -> None:
    """Broken: percentiles of nothing."""
    meter = Meter(entity("shop"), "h", (), Histogram((0.0, 10_000.0, 5e9), (0, 3, 1)))
    ((collection,), _) = collections(meter, book=book)
    values = collection.meterData[0].histogram.values
    assert [(value.bucket, value.count) for value in values] == [(0.0, 0), (10_000.0, 3), (5e9, 1)]
    assert not any(value.isNegativeInfinity for value in values)


def test_meters_of_processes_without_ids_are_left_out_and_counted(book: ProcessBook) -> None:
    """Broken: an edge to nowhere; or a loss that nobody sees."""
    good = Meter(entity("shop"), "m", (), 1.0)
    bad = Meter(entity("shop"), "m", (("server_process_id", entity("unknown")),), 1.0)
    ((collection,), lost) = collections(good, bad, book=book, completeness=Completeness(10, 10))
    assert len(collection.meterData) == 1
    assert lost == {Loss.PROCESS_GONE: 5}
    assert collections(bad, book=book, completeness=Completeness(3, 3)) == ([], {Loss.PROCESS_GONE: 3})
