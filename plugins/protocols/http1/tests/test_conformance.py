"""The suite of every protocol, over the shapes that HTTP/1.x messages take."""

from rover_core.api import WireProtocol
from rover_core.testing import ProtocolConformance, Transcript
from rover_core.wire import Direction
from rover_http1 import plugin

C, S = Direction.CLIENT, Direction.SERVER
GET = b"GET /a/%d HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
A = ("GET /a/{}", "200", False)


class TestHttp1(ProtocolConformance):
    fuzz_seconds = 60.0

    def make(self) -> WireProtocol:
        (protocol,) = plugin.rover_protocols()
        return protocol

    def transcripts(self) -> list[Transcript]:
        return [
            Transcript(
                "keep-alive, bodies of known length and none",
                [
                    (C, GET % 1), (S, OK % 5 + b"hello"),
                    (C, b"POST /users HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"),
                    (S, b"HTTP/1.1 204 No Content\r\n\r\n"),
                    (C, b"HEAD /a/2 HTTP/1.1\r\n\r\n"), (S, OK % 900),
                    (C, GET % 3), (S, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n"),
                    (C, GET % 4), (S, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
                    (C, GET % 5), (S, OK % 2 + b"ok"),
                ],
                [
                    A, ("POST /users", "204", False), ("HEAD /a/{}", "200", False), ("GET /a/{}", "304", False),
                    ("GET /a/{}", "404", False), A,
                ],
            ),
            Transcript(
                "chunks with extensions and trailers",
                [
                    (C, GET % 1),
                    (S, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5;a=b\r\nhello\r\n"),
                    (S, b"1e \r\n012345678901234567890123456789\r\n0\r\nDigest: x\r\nMore: y\r\n\r\n"),
                    (C, b"PUT /f HTTP/1.1\r\ntransfer-encoding:chunked\r\n\r\n3\r\nabc\r\n0;last\r\n\r\n"),
                    (S, b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"),
                    (C, GET % 2), (S, OK % 0),
                ],
                [A, ("PUT /f", "503", True), A],
            ),
            Transcript(
                "pipelined",
                [
                    (C, GET % 1), (C, GET % 2 + GET % 3), (S, OK % 5 + b"first"), (S, OK % 6 + b"second"),
                    (S, OK % 0), (C, GET % 4 + GET % 5), (S, OK % 1 + b"4" + OK % 1 + b"5"),
                    (C, GET % 6), (S, OK % 0),
                ],
                [A, A, A, A, A, A],
                independent=False,
            ),
            Transcript(
                "interim responses",
                [
                    (C, b"POST /f HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 6\r\n\r\n"),
                    (S, b"HTTP/1.1 100 Continue\r\n\r\n"), (C, b"upload"),
                    (S, b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"),
                    (C, GET % 2), (S, OK % 0),
                ],
                [("POST /f", "201", False), A],
            ),
            Transcript(
                "folded headers, absolute targets, bare line feeds, empty lines, odd requests",
                [
                    (C, b"\r\nGET http://h/a/1?q=/b HTTP/1.1\r\nX: a\r\n  b\r\n\r\n"),
                    (S, b"HTTP/1.1 200 OK\r\nContent-Length:\r\n 5\r\n\r\nhello"),
                    (C, b"GET /a/2 HTTP/1.1\nHost: h\n\n"), (S, b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
                    (C, b"OPTIONS  * HTTP/1.1\r\n\r\n"), (S, OK % 0),
                    (C, b"FROB /b c HTTP/1.1\r\n\r\n"), (S, b"HTTP/1.1 400\r\nContent-Length: 0\r\n\r\n"),
                    (C, GET % 5), (S, OK % 0),
                ],
                [A, A, ("OPTIONS", "200", False), ("OTHER /b c", "400", False), A],
                independent=False,  # in the middle of it the request line of the method FROB is not told from a body
            ),
            Transcript(
                "the first version, whose bodies end with the connection",
                [(C, b"GET / HTTP/1.0\r\n\r\n"), (S, b"HTTP/1.0 500 Oops\r\n\r\nhalf"), (S, b" and half")],
                [("GET /", "500", True)],
            ),
            Transcript(
                "an upgrade that is refused, then one that is not",
                [
                    (C, b"GET /chat HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"), (S, OK % 0),
                    (C, b"GET /chat HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
                    (S, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\r\n\x81\x05hello"),
                ],
                [("GET /chat", "200", False), ("GET /chat", "101", False)],
            ),
            Transcript(
                "a tunnel",
                [
                    (C, b"CONNECT h:443 HTTP/1.1\r\n\r\n"), (S, b"HTTP/1.1 200 Connection established\r\n\r\n"),
                    (C, b"\x16\x03\x01\x02\x00"),
                ],
                [("CONNECT", "200", False)],
            ),
        ]  # fmt: skip
