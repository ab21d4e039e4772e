"""The suite of every protocol, over the shapes that HTTP/2 takes; header blocks are another library's."""

from http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITIZED,
    PRIORITY,
    SETTINGS,
    WINDOW_UPDATE,
    Side,
    frame,
    go_away,
    request,
    reset,
    settings,
)

from rover_core.api import WireProtocol
from rover_core.testing import ProtocolConformance, Transcript
from rover_core.wire import Direction
from rover_http2 import plugin

C, S = Direction.CLIENT, Direction.SERVER
BEGIN = PREFACE + settings((3, 100), (4, 65535)) + frame(WINDOW_UPDATE, 0, 0, b"\0\1\0\0")
GRPC = {"content_type": "application/grpc", "te": "trailers"}


def interleaved() -> Transcript:
    client, server = Side(indexed=False), Side(indexed=False)
    return Transcript(
        "streams interleaved, answered in another order",
        [
            (C, client.get(1, "/users/42") + client.post(3, "/orders", b"{}")),
            (S, server.headers(3, [(":status", "500")], END_HEADERS)),
            (S, server.headers(1, [(":status", "200")], END_HEADERS) + frame(DATA, 0, 1, b"x" * 50)),
            (S, frame(DATA, END_STREAM, 3, b"failed") + frame(DATA, END_STREAM, 1, b"x" * 60)),
            (C, client.get(5, "/none") + frame(WINDOW_UPDATE, 0, 0, b"\0\0\1\0")),
            (S, server.answer(5, 404)),
            (C, client.get(7, "/users/43")),
            (S, server.answer(7, 200, b"y" * 40)),
        ],
        [
            ("POST /orders", "500", True),
            ("GET /users/{}", "200", False),
            ("GET /none", "404", False),
            ("GET /users/{}", "200", False),
        ],
    )


def whole_connection() -> Transcript:
    client, server = Side(), Side()
    padded = frame(DATA, END_STREAM | PADDED, 5, b"\3body\0\0\0")
    asked, answered = client.get(1, "/", user_agent="curl"), server.answer(1, 200, b"hello", server="nginx")
    first = client.block(request("POST", "/upload", cookie="a=b"))
    interim = server.headers(5, [(":status", "103"), ("link", "</a.css>")], END_HEADERS)
    block = server.block([(":status", "200"), ("content-type", "text/plain"), ("x-long", "abc" * 20)])
    return Transcript(
        "from the preface on: tables, priority, padding, CONTINUATION, 1xx, trailers",
        [
            (C, BEGIN + frame(PRIORITY, 0, 3, b"\0\0\0\0\7") + asked),
            (S, settings((3, 100)) + frame(SETTINGS, ACK, 0)),
            (S, answered),
            (C, frame(SETTINGS, ACK, 0) + frame(PING, 0, 0, b"12345678")),
            (S, frame(PING, ACK, 0, b"12345678")),
            (C, frame(HEADERS, PRIORITIZED | PADDED, 5, b"\2\0\0\0\0\7" + first[:9] + b"\0\0")),
            (C, frame(CONTINUATION, 0, 5, first[9:15]) + frame(CONTINUATION, END_HEADERS, 5, first[15:]) + padded),
            (S, interim),
            (S, frame(HEADERS, 0, 5, block[:4]) + frame(CONTINUATION, END_HEADERS, 5, block[4:])),
            (S, frame(DATA, 0, 5, b"part") + server.headers(5, [("x-sum", "12")])),
            (C, client.get(7, "/", user_agent="curl")),
            (S, server.answer(7, 200, b"hello", server="nginx")),
        ],
        [("GET /", "200", False), ("POST /upload", "200", False), ("GET /", "200", False)],
        independent=False,
    )


def cut_short() -> Transcript:
    client, server = Side(), Side()
    return Transcript(
        "reset by either side, refused by GOAWAY",
        [
            (C, BEGIN + client.get(1, "/cancelled")),
            (S, settings() + server.headers(1, [(":status", "200")], END_HEADERS) + frame(DATA, 0, 1, b"x")),
            (C, reset(1, 8)),
            (C, client.headers(3, request("POST", "/big"), END_HEADERS) + frame(DATA, 0, 3, b"x" * 30)),
            (S, server.answer(3, 413) + reset(3, 0)),
            (C, client.get(5, "/refused")),
            (S, reset(5, 7)),
            (C, client.get(7, "/page")),
            (S, server.answer(7, 200, b"page")),
            (C, client.get(9, "/late")), (C, client.get(11, "/later")),
            (S, go_away(9) + server.answer(9, 200)),
        ],
        [
            ("GET /cancelled", "200", True), ("POST /big", "413", False), ("GET /refused", "REFUSED_STREAM", True),
            ("GET /page", "200", False), ("GET /later", "GOAWAY", True),
            ("GET /late", "200", False),
        ],
        independent=False,
    )  # fmt: skip


def grpc() -> Transcript:
    client, server = Side(), Side()
    message = b"\0\0\0\0\5hello"
    ok = {"content_type": "application/grpc"}
    return Transcript(
        "gRPC: trailers, trailers alone, a stream of messages",
        [
            (C, BEGIN + client.post(1, "/shop.Cart/Get", message, **GRPC)),
            (S, settings() + server.headers(1, [(":status", "200"), *ok.items()], END_HEADERS)),
            (S, frame(DATA, 0, 1, message) + server.headers(1, [("grpc-status", "0")])),
            (C, client.post(3, "/shop.Cart/Get", message, **GRPC)),
            (S, server.answer(3, 200, grpc_status="5", grpc_message="no")),
            (C, client.headers(5, request("POST", "/shop.Cart/Watch", **GRPC), END_HEADERS)),
            (S, server.headers(5, [(":status", "200"), *ok.items()], END_HEADERS) + frame(DATA, 0, 5, message)),
            (C, frame(DATA, 0, 5, message)),
            (S, frame(DATA, 0, 5, message)),
            (C, frame(DATA, END_STREAM, 5)),
            (S, server.headers(5, [("grpc-status", "14")])),
        ],
        [
            ("/shop.Cart/Get", "OK", False),
            ("/shop.Cart/Get", "NOT_FOUND", True),
            ("/shop.Cart/Watch", "UNAVAILABLE", True),
        ],
        independent=False,
    )


class TestHttp2(ProtocolConformance):
    def make(self) -> WireProtocol:
        (protocol,) = plugin.rover_protocols()
        return protocol

    def transcripts(self) -> list[Transcript]:
        return [interleaved(), whole_connection(), cut_short(), grpc()]
