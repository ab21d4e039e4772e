"""CPU time that reading protocols takes, per exchange: part of `make bench`.

A typical exchange of HTTP/1.1 (a browser's request, a static file's response of 4 KB, of which Rover gets 1 KB) is
read by Rover, h11 and httptools in turns; then Rover reads the published captures of every protocol installed.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import h11
import httptools
from captures import captured, flows
from classifying import PROTOCOLS, compiled, directed, installed

from rover_core.api import WireProtocol
from rover_core.wire import Limits
from rover_network.feeds import places
from rover_network.intervals import Interval
from rover_network.records import RECORD
from rover_network.sampling import Sampler
from rover_network.streams import Spoken, Streams, feed_all
from rover_network.tape import BLOCK

_EXCHANGES = 5_000
_WORKER = "http1, typical, all that a worker does"
_BODY, _CAPTURED = 4096, 1024
_REQUEST = (
    b"GET /catalogue/%d/details?page=2 HTTP/1.1\r\nHost: shop.example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux "
    b"x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\n"
    b"Cookie: session=7b0c9a3d5e1f4a\r\n\r\n"
)
_RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Mon, 23 Nov 2026 05:13:31 GMT\r\nContent-Type: text/html\r\n"
    b"Content-Length: %d\r\nLast-Modified: Mon, 02 Nov 2026 08:00:00 GMT\r\nConnection: keep-alive\r\n"
    b'ETag: "65437d9f-1000"\r\nAccept-Ranges: bytes\r\n\r\n' % _BODY
) + b"x" * _BODY

Read = Callable[[], int]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9, help="turns of each (default 9)")
    parser.add_argument("--quick", action="store_true", help="one round: does it work?")
    parser.add_argument("--json", action="store_true", help="for programs")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="rover-bench-") as folder:
        readers = dict(_readers(Path(folder)))
    taken = _take_turns(readers, 1 if options.quick else options.rounds)
    if options.json:
        print(json.dumps({"cpu_us_per_exchange": taken}, indent=2))
        return 0
    print("CPU time to read bytes that passed, per exchange, medians\n\n| | µs |\n|---|---:|")
    for name, times in taken.items():
        print(f"| {name} | {statistics.median(times):.1f} |")
    print(f"\nOne worker reads {1e6 / statistics.median(taken[_WORKER]):,.0f} exchanges of HTTP/1.x a second.")
    return 0


def _take_turns(readers: dict[str, Read], rounds: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(rounds):
        for name, read in readers.items():
            begun = time.process_time()
            count = read()
            taken[name].append((time.process_time() - begun) / count * 1e6)
    return taken


def _readers(folder: Path) -> Iterator[tuple[str, Read]]:
    requests = [_REQUEST % (number % 1000) for number in range(_EXCHANGES)]
    protocols = {protocol.name: protocol for protocol in installed()}
    yield "http1, typical", lambda: _typical(protocols["http1"], requests)
    block = BLOCK.pack(0, 0) + b"".join(_records(requests))
    yield _WORKER, lambda: _as_worker(protocols["http1"], block)
    yield "httptools, typical", lambda: _with_httptools(requests)
    yield "h11, typical", lambda: _with_h11(requests[: _EXCHANGES // 10])
    for theirs, name in PROTOCOLS.items():
        if name in protocols and (work := _published(protocols[name], theirs, folder)):
            yield f"{name}, published captures", work


def _typical(protocol: WireProtocol, requests: Sequence[bytes]) -> int:
    connection = protocol.connect(Limits())
    response, gap = _RESPONSE[:_CAPTURED], len(_RESPONSE) - _CAPTURED
    found = 0
    for at, request in enumerate(requests):
        connection.feed(0, request, 0, at * 100)
        found += len(connection.feed(1, response, gap, at * 100 + 50))
    assert found == len(requests)
    return found


def _records(requests: Sequence[bytes]) -> Iterator[bytes]:
    """As the kernel ships them: of ten connections, the server's side."""
    response, gap = _RESPONSE[:_CAPTURED], len(_RESPONSE) - _CAPTURED
    places = [[0, 0] for _ in range(10)]
    for number, request in enumerate(requests):
        place, now = places[number % 10], 1000 * number
        for sent, data, after in ((0, request, 0), (1, response, gap)):
            key = (number % 10, 42, 0, place[sent], place[1 - sent], now, now, after, len(data), 1, sent, sent, 0)
            place[sent] += len(data) + after
            yield RECORD.pack(*key) + data


def _as_worker(protocol: WireProtocol, block: bytes) -> int:
    streams = Streams([None, Spoken(protocol.connect, None, {})], Interval(5000), Sampler())
    count = feed_all(streams, [(block, places(block))])
    found = sum(row[8] for row in json.loads(json.dumps(streams.report()))["rows"])
    assert found == count // 2 == _EXCHANGES
    return found


class _Seen:
    """What an exchange needs to be counted: the callbacks without which httptools tells nothing."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = 0

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_message_complete(self) -> None:
        self.complete += 1
        self.headers.clear()


def _with_httptools(requests: Sequence[bytes]) -> int:
    client, server = _Seen(), _Seen()
    request_parser, response_parser = httptools.HttpRequestParser(client), httptools.HttpResponseParser(server)
    for request in requests:
        request_parser.feed_data(request)
        request_parser.get_method()
        response_parser.feed_data(_RESPONSE)
        response_parser.get_status_code()
    assert client.complete == server.complete == len(requests)
    return len(requests)


def _with_h11(requests: Sequence[bytes]) -> int:
    client, server = h11.Connection(h11.CLIENT), h11.Connection(h11.SERVER)
    for request in requests:
        server.receive_data(request)
        event = server.next_event()
        assert isinstance(event, h11.Request)
        server.next_event()
        client.send(event)
        client.send(h11.EndOfMessage())
        client.receive_data(_RESPONSE)
        answer = client.next_event()
        assert isinstance(answer, h11.Response)
        while not isinstance(client.next_event(), h11.EndOfMessage):
            pass
        server.send(answer)
        server.send(h11.Data(data=_RESPONSE[-_BODY:]))
        server.send(h11.EndOfMessage())
        client.start_next_cycle()
        server.start_next_cycle()
    return len(requests)


def _published(protocol: WireProtocol, name: str, folder: Path) -> Read | None:
    """Reads every connection of the captures in which that protocol is found, as often as it takes to measure."""
    classify = compiled(protocol, folder)
    connections = []
    for capture in captured(name):
        for flow in flows(capture.file):
            if found := directed(flow, classify):
                connect = protocol.datagrams if flow.transport == "udp" else protocol.connect
                connections.append((connect or protocol.connect, found.pieces))

    def once() -> int:
        found = 0
        for connect, pieces in connections:
            connection = connect(Limits())
            for piece in pieces:
                found += len(connection.feed(piece.direction, piece.data, piece.gap, piece.timestamp_ns))
            found += len(connection.close())
        return found

    if not connections or not (count := once()):
        return None
    times = max(1, _EXCHANGES // count)
    return lambda: sum(once() for _ in range(times))


if __name__ == "__main__":
    raise SystemExit(main())
