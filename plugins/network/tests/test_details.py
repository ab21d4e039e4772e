"""Which system calls moved which messages, in bounded memory, without a kernel."""

from dataclasses import replace
from pathlib import Path

from rover_core.model import Syscall
from rover_core.testing import make_sampled
from rover_core.wire import Message
from rover_http1.plugin import connect, rover_protocols
from rover_network.calls import _KINDS, Kind, numbers
from rover_network.details import _OF_EACH, _OF_ONE, _TOLD, DETAIL, FUNCTIONS, Call, CallBook
from rover_network.host import Host, RecordedHost
from rover_network.intervals import Interval
from rover_network.packetprobes import FUNCTIONS as PROGRAMS
from rover_network.records import CALL, END, RECORD
from rover_network.rules import parse_rules
from rover_network.samples import name_interfaces
from rover_network.samplewords import rules_told, samples_read
from rover_network.sampling import Sampler
from rover_network.streams import Place, Spoken, Streams

CONTRACT = {
    *("Connect", "Accept", "Close", "Send", "Sendto", "SendMsg", "SendMMSg", "SendFile", "Write", "Writev", "Read"),
    *("Readv", "Recv", "Recvfrom", "RecvMsg", "RecvMMsg", "Resent", "SslWrite", "SslRead", "GoTLSWrite", "GoTLSRead"),
}
NUMBERS = {name: number for number, name in enumerate(FUNCTIONS, 1)}
REQUEST = b"GET /a HTTP/1.1\r\nHost: b\r\ntraceparent: 00-%s-%s-01\r\n\r\n" % (b"ab" * 16, b"cd" * 8)
ANSWER = b"HTTP/1.1 500 Oh\r\nContent-Length: 300\r\n\r\n"
PLACE = (7, 42, 0, 0, 1)


def told(
    began: int,
    ended: int,
    answers: int,
    function: str = "write",
    figures: tuple[int, ...] = (99, 1, 2, 30),
    inode: int = 7,
    encrypted: int = 0,
) -> bytes:
    """A record of a call of a server."""
    head = RECORD.pack(inode, 42, 0, 0, 0, began, ended, 0, DETAIL.size, 1, answers, answers, CALL)
    return head + DETAIL.pack(*figures, NUMBERS[function], encrypted)


def add(book: CallBook, record: bytes) -> None:
    fields = RECORD.unpack_from(record)
    book.add(fields[:3], fields, record, 0)


def message(start: int, end: int) -> Message[None]:
    return Message(start, end, 1, True, None)


def ends(calls: object) -> list[int]:
    return [call.ended_ns for call in calls]  # type: ignore[attr-defined]


def test_calls_are_called_as_the_contract_says() -> None:
    """Broken: a backend shows calls of names that it does not know, or of other calls; or one has none."""
    assert set(FUNCTIONS.values()) - CONTRACT == {"Splice"}  # which SkyWalking's own agent does not see
    moving = [name for kind, names in _KINDS.items() if kind <= Kind.SPLICING for name in names]
    assert set(FUNCTIONS) == set(moving) <= set(numbers())
    header = (Path(__file__).parents[1] / "rover_network/rover/details.h").read_text()
    assert all(f"int {name}(" in header for name in PROGRAMS)


def test_a_message_has_the_calls_that_moved_it_and_no_others() -> None:
    """Broken: calls of the exchange before, of another connection or of the other direction are taken for its own."""
    book = CallBook()
    for began, ended, answers in ((10, 20, 0), (21, 30, 0), (31, 40, 1), (41, 50, 1), (51, 60, 0), (61, 70, 1)):
        add(book, told(began, ended, answers))
    add(book, told(21, 30, 0, inode=8))
    assert ends(book.of(PLACE, 0, message(20, 30))) == [20, 30]
    assert ends(book.of(PLACE, 1, message(31, 50))) == [40, 50]  # a write counts from its begin on
    assert ends(book.of(PLACE, 0, message(60, 60))) == [60]
    assert book.of((9, 42, 0, 0, 1), 0, message(0, 100)) == []
    assert book.take_losses() == {}
    book.end((7, 42, 0))
    assert book.of(PLACE, 0, message(0, 100)) == []


def test_what_tls_encrypts_is_moved_before_it_is_read_and_after_it_was_written() -> None:
    """Broken: over TLS a message has no system calls, or those of the exchange before or behind it."""
    book = CallBook()
    handshake = [(0, 1, 0), (2, 3, 1), (4, 5, 0), (6, 7, 1)]
    first = [(10, 12, 0), (13, 14, 0), (21, 22, 1), (23, 24, 1)]
    second = [(30, 31, 0), (41, 42, 1), (60, 61, 1)]
    for began, ended, answers in handshake + first + second:
        add(book, told(began, ended, answers, encrypted=1))
    client = (7, 42, 0, 1, 1)
    assert ends(book.of(PLACE, 0, message(8, 8))) == [5], "it came with the last of the handshake"
    assert ends(book.of(PLACE, 0, message(15, 15))) == [12, 14]
    assert ends(book.of(PLACE, 1, message(20, 25))) == [22, 24]
    assert ends(book.of(PLACE, 0, message(32, 33))) == [31]
    assert ends(book.of(PLACE, 1, message(40, 40))) == [42, 61]  # written into memory, which went out twice
    assert ends(book.of(PLACE, 1, message(20, 20))) == [22, 24], "and until the next request came"
    assert ends(book.of(client, 0, message(20, 20))) == [22, 24]
    assert ends(book.of(client, 1, message(32, 32))) == [31]


def test_one_call_that_moves_several_portions_is_one() -> None:
    """Broken: a sendfile of a large file becomes hundreds of calls."""
    book = CallBook()
    for ended, packets in ((20, 2), (30, 1), (40, 0)):
        add(book, told(10, ended, 1, "sendfile", (100 * packets, packets, 3 * (packets > 1), 30)))
    add(book, told(50, 60, 1, "sendfile", (7, 1, 3, 30)))
    assert book.of(PLACE, 1, message(10, 60)) == [
        Call(1, 10, 40, 300, 3, 3, 30, NUMBERS["sendfile"]),
        Call(1, 50, 60, 7, 1, 3, 30, NUMBERS["sendfile"]),
    ]
    assert Call(1, 10, 40, 300, 3, 3, 30, NUMBERS["sendfile"]).syscall(5) == Syscall(
        "SendFile", 15, 45, 3, 300, "", 3, 30
    )


def test_what_is_kept_is_bounded_and_what_is_cut_is_counted() -> None:
    """Broken: a busy host fills a worker's memory, busy connections take slow ones' calls, or nobody is told."""
    book = CallBook(kept=4000)
    add(book, told(1, 2, 0, inode=1))  # of a slow exchange
    for at in range(10, 10 + 40 * _OF_ONE):
        add(book, told(at, at + 1, 0, inode=100 + at % 20))
    assert sum(len(each.calls) for each in book._histories.values()) == book._count <= 4001
    assert ends(book.of((1, 42, 0, 0), 0, message(1, 5))) == [2]
    assert book.take_losses() == {}
    assert len(book.of((100, 42, 0, 0), 0, message(0, 10**6))) <= _TOLD
    assert book.take_losses() == {"messages without all system calls": 1}
    for inode in range(5000):
        add(book, told(10**6, 10**6 + inode, 0, inode=10_000 + inode))
    assert sum(len(each.calls) for each in book._histories.values()) == book._count <= 4001
    assert book.of((1, 42, 0, 0), 0, message(1, 5)) == []
    assert book.take_losses() == {"messages without all system calls": 1}
    assert _OF_EACH < 10


def test_forged_calls_are_left_out() -> None:
    """Broken: a recording that somebody made up ends the worker, whose agent takes no such number."""
    book = CallBook()
    for figures in ((1 << 61, 1, 1, 1), (1, 1, 1, 1)):
        record = bytearray(told(1, 1 << 61 if figures[0] == 1 else 2, 0, figures=figures))
        add(book, bytes(record))
    record = bytearray(told(1, 2, 0))
    record[-4:] = (200).to_bytes(4, "little")
    add(book, bytes(record))
    assert not book._histories


def test_samples_come_with_their_calls() -> None:
    """Broken: what the kernel said of a call is not told with the exchange, or with another message of it."""
    book = CallBook()
    sampler: Sampler[Place] = Sampler(offset_ns=1000, calls_of=book.of)
    (http,) = rover_protocols()
    spoken = Spoken(connect, None, {}, trace=http.trace, reason=http.reason, render=http.render)
    streams = Streams([None, spoken], Interval(10), sampler, calls=book)
    rules = rules_told(parse_rules("5xx,max=1KB; 5xx,max=0,uri~/bare"))
    streams.assign([("task", rules, None)])

    def move(answers: int, began: int, ended: int, data: bytes, at: int, function: str) -> None:
        places = (at, 0)
        head = RECORD.pack(7, 42, 0, *places, began, ended, 0, len(data), 1, answers, answers, 0)
        streams.feed(told(began, ended, answers, function))
        streams.feed(head + data)

    move(0, 100, 200, REQUEST[:20], 0, "recvfrom")
    move(0, 250, 300, REQUEST[20:], 20, "recvmsg")
    move(1, 400, 410, ANSWER, 0, "writev")
    move(1, 420, 430, b"x" * 100, len(ANSWER), "sendfile")
    move(1, 440, 450, b"x" * 200, len(ANSWER) + 100, "sendfile")
    (sample,) = samples_read(streams.report()["samples"])
    request, response = sample.exchange.request, sample.exchange.response
    assert request
    assert response
    assert [(each.function, each.start_ns, each.end_ns) for each in request.syscalls] == [
        ("Recvfrom", 1100, 1200),
        ("RecvMsg", 1250, 1300),
    ]
    assert [each.function for each in response.syscalls] == ["Writev", "SendFile", "SendFile"]
    assert {(each.packets, each.packet_bytes, each.rtt_us) for each in response.syscalls} == {(1, 99, 30)}
    streams.feed(RECORD.pack(7, 42, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, END))
    assert not book._histories
    add(book, told(1, 2, 0))
    streams.assign([])
    assert (book._histories, book._count) == ({}, 0)


def test_interfaces_have_the_names_of_the_processs_own_network(tmp_path: Path) -> None:
    """Broken: a call of a container is said to have gone through the host's interface of that number."""
    for process, files in (
        ("self", {"igmp": "Idx\tDevice    : Count\n1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0\n"}),
        ("20", {"if_inet6": "fd00 04 40 00 82     eth0\n", "dev_mcast": "2    ifb0            1     0     3333\n"}),
    ):
        (tmp_path / process / "net").mkdir(parents=True)
        for name, text in files.items():
            (tmp_path / process / "net" / name).write_text(text)
    (tmp_path / "self/ns").mkdir()
    (tmp_path / "self/ns/net").touch()
    own = (tmp_path / "self/ns/net").stat().st_ino
    host = Host(tmp_path)
    assert [host.interface(20, own + 1, index) for index in (1, 2, 4, 9)] == ["", "ifb0", "eth0", ""]
    assert host.interface(99, own, 1) == "lo"
    elsewhere = RecordedHost()
    elsewhere.take(host.facts())
    assert elsewhere.interface(20, own + 1, 4) == "eth0"
    assert elsewhere.interface(20, 5, 4) == ""


def test_names_are_put_where_numbers_are() -> None:
    """Broken: the backend is told no interface, or the exchange is changed on the way."""
    sample = make_sampled()
    assert name_interfaces(sample, str) == sample
    assert sample.exchange.request
    called = replace(sample.exchange.request, syscalls=(Syscall("Write", 1, 2, 3, 4, "", 5, 6),))
    named = name_interfaces(replace(sample, exchange=replace(sample.exchange, request=called)), "eth{}".format)
    assert named.exchange.request == replace(called, syscalls=(Syscall("Write", 1, 2, 3, 4, "eth5", 5, 6),))
    assert replace(named, exchange=replace(named.exchange, request=sample.exchange.request)) == sample
