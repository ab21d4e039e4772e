"""HTTP/2 as its users write it; header blocks by an independent library."""

import struct

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, PRIORITIZED = 1, 4, 8, 0x20
ACK = 1
Fields = list[tuple[str, str]]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack("!HI", *pair) for pair in pairs))


def reset(stream: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, stream, struct.pack("!I", code))


def go_away(last: int, code: int = 0) -> bytes:
    return frame(GOAWAY, 0, 0, struct.pack("!II", last, code) + b"bye")


class Side:
    """One side's frames. indexed: whether it fills a table that its later header blocks refer to."""

    def __init__(self, indexed: bool = True) -> None:
        self.encoder = hpack.Encoder()
        self.indexed = indexed

    def block(self, fields: Fields) -> bytes:
        if self.indexed:
            return self.encoder.encode(fields)
        return b"".join(literal(*field) for field in fields)

    def headers(self, stream: int, fields: Fields, flags: int = END_STREAM | END_HEADERS) -> bytes:
        return frame(HEADERS, flags, stream, self.block(fields))

    def get(self, stream: int, path: str, **more: str) -> bytes:
        return self.headers(stream, request("GET", path, **more))

    def post(self, stream: int, path: str, body: bytes, **more: str) -> bytes:
        head = self.headers(stream, request("POST", path, **more), END_HEADERS)
        return head + frame(DATA, END_STREAM, stream, body)

    def answer(self, stream: int, status: int, body: bytes = b"", **more: str) -> bytes:
        fields = [(":status", str(status)), *((name.replace("_", "-"), value) for name, value in more.items())]
        if not body:
            return self.headers(stream, fields)
        return self.headers(stream, fields, END_HEADERS) + frame(DATA, END_STREAM, stream, body)


def request(method: str, path: str, **more: str) -> Fields:
    pseudo = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "shop")]
    return [*pseudo, *((name.replace("_", "-"), value) for name, value in more.items())]


def literal(name: str, value: str) -> bytes:
    """Of the static table where it is there, else spelled out; nothing is added to a table."""
    static = {(":method", "GET"): b"\x82", (":method", "POST"): b"\x83", (":scheme", "http"): b"\x86"}
    static |= {(":status", "200"): b"\x88", (":status", "404"): b"\x8d", (":status", "500"): b"\x8e"}
    if found := static.get((name, value)):
        return found
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
