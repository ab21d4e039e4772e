"""What the backend hears of processes, and what is known of it."""

from typing import Any

import pytest
from skywalking_backend import Backend

from rover_core.model import Entity, ProcessKey
from rover_exporter_skywalking.processes import ProcessBook
from rover_exporter_skywalking.protocol.process_pb2 import EBPFProcessReportList


def assigned(book: ProcessBook, backend: Backend, beat: int = 1) -> None:
    """Report everything that is due and take over the answer."""
    due = book.unreported(beat)
    book.assign(due, backend.reportProcesses(EBPFProcessReportList(processes=[k.to_report() for k in due])), beat)


def test_a_report_says_what_the_contract_lists(make_process: Any) -> None:
    """Broken: the backend shows a process without its command line, or never hands out tasks for it."""
    book = ProcessBook()
    process = make_process(
        "shop", properties={"host_ip": "10.0.0.7", "support_ebpf_profiling": "true"}, labels=("a",)
    )
    book.update([process])
    (known,) = book.all()
    report = known.to_report().hostProcess
    assert report.pid == 7
    assert {pair.key: pair.value for pair in report.properties} == {
        "host_ip": "10.0.0.7",
        "pid": "7",
        "command_line": "shop --serve",
        "support_ebpf_profiling": "true",
    }
    entity = report.entity
    assert (entity.layer, entity.serviceName, entity.instanceName) == ("OS_LINUX", "shop-service", "host")
    assert (entity.processName, list(entity.labels)) == ("shop", ["a"])
    ping = known.to_ping()
    assert [(pair.key, pair.value) for pair in ping.properties] == [("support_ebpf_profiling", "true")]
    assert ping.entityMetadata == entity


def test_processes_of_pods_are_kubernetes_processes(make_process: Any) -> None:
    """Broken: the backend takes a pod's process for one of a virtual machine."""
    book = ProcessBook()
    book.update([make_process("shop", properties={"pod_name": "shop-1"})])
    assert book.all()[0].to_report().WhichOneof("metadata") == "k8sProcess"


def test_ids_are_matched_by_pid_and_names_whatever_the_order_of_labels(make_process: Any) -> None:
    """Broken: processes stay without ids, or get those of others."""
    book, backend = ProcessBook(), Backend()
    shop, cart = make_process("shop", 7, labels=("b", "a")), make_process("cart", 8)
    book.update([shop, cart])
    due = book.unreported(1)
    answer = backend.reportProcesses(EBPFProcessReportList(processes=[known.to_report() for known in due]))
    for process in answer.processes:
        labels = sorted(process.hostProcess.entityMetadata.labels)
        process.hostProcess.entityMetadata.ClearField("labels")
        process.hostProcess.entityMetadata.labels.extend(labels)
    book.assign(due, answer, 1)
    assert book.process_id(shop.entities[0]) == backend.id_of("shop")
    assert book.keys_of(backend.id_of("cart")) == (cart.key,)
    assert backend.id_of("shop") != backend.id_of("cart")


def test_one_entity_of_several_pids_is_reported_once_and_profiled_whole(make_process: Any) -> None:
    """Broken: the backend's picture of nginx changes with every worker, or a task sees one worker alone."""
    book, backend = ProcessBook(), Backend()
    workers = [make_process("nginx", pid) for pid in (30, 10, 20)]
    book.update(workers)
    assert [known.spokesman.pid for known in book.all()] == [10], "the oldest"
    assigned(book, backend)
    assert set(book.keys_of(backend.id_of("nginx"))) == {ProcessKey(pid, pid * 7) for pid in (10, 20, 30)}
    book.update(workers[:1])
    assert [known.spokesman.pid for known in book.unreported(2)] == [30], "the next one is reported in its place"
    assert book.process_id(workers[0].entities[0]) == backend.id_of("nginx")


def test_what_has_no_id_is_tried_again_ever_more_rarely(make_process: Any) -> None:
    """Broken: a process that the backend did not know once is never profiled, or reported every second for ever."""
    book, backend = ProcessBook(retry_within=10), Backend()
    backend.unknown.add("shop")
    book.update([make_process("shop")])
    tries = []
    for beat in range(1, 40):
        if book.unreported(beat):
            tries.append(beat)
            assigned(book, backend, beat)
    assert tries == [1, 2, 4, 8, 16, 26, 36]
    backend.unknown.clear()
    assigned(book, backend, 46)
    assert book.unreported(100) == []
    assert len(book.reported()) == 1


def test_removed_processes_are_forgotten_but_their_ids_are_not_at_once(make_process: Any) -> None:
    """Broken: the backend hears of the dead for ever; or the last seconds of a process have no owner."""
    book, backend = ProcessBook(), Backend()
    shop = make_process("shop")
    book.update([shop])
    assigned(book, backend)
    book.update([])
    assert book.all() == []
    assert book.keys_of(backend.id_of("shop")) == ()
    assert book.process_id(shop.entities[0]) == backend.id_of("shop")


def test_ids_do_not_pile_up(make_process: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a host that starts programs of ever new names fills the agent's memory."""
    monkeypatch.setattr("rover_exporter_skywalking.processes._IDS_KEPT", 50)
    book, backend = ProcessBook(), Backend()
    for number in range(200):
        book.update([make_process(f"job-{number}", 100 + number)])
        assigned(book, backend)
    assert len(book._ids) == len(book._entities) == 50


def test_the_clusters_name_comes_first(make_process: Any) -> None:
    """Broken: services of two clusters are one to the backend."""
    book = ProcessBook(cluster="eu")
    named = Entity("OS_LINUX", "us::shop", "host", "other")
    book.update([make_process("shop"), make_process("other", 8, entities=(named,))])
    names = {known.to_report().hostProcess.entity.serviceName for known in book.all()}
    assert names == {"eu::shop-service", "us::shop"}


def test_kernel_threads_and_the_nameless_are_not_reported(make_process: Any) -> None:
    """Broken: hundreds of kworkers at the backend."""
    book = ProcessBook()
    book.update([make_process("kworker", kernel_thread=True), make_process("nobody", 8, entities=())])
    assert book.all() == []


def test_hostile_names_can_be_sent(make_process: Any) -> None:
    """Broken: one process with bytes in its name that are no text, and none is reported any more."""
    book = ProcessBook()
    book.update([make_process("\udcff\x00\n", cmdline=("\udcff" * 100_000,))])
    data = book.all()[0].to_report().SerializeToString()
    assert len(data) < 20_000
