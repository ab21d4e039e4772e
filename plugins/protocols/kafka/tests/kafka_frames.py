"""Kafka's messages as clients and brokers write them."""

import struct


def string(text: str | None) -> bytes:
    return struct.pack("!h", -1) if text is None else struct.pack("!h", len(text)) + text.encode()


def compact(text: str) -> bytes:
    return bytes([len(text) + 1]) + text.encode()


def request(key: int, version: int, correlation: int, body: bytes, client: str | None = "tester") -> bytes:
    head = struct.pack("!hhi", key, version, correlation) + string(client)
    return struct.pack("!i", len(head) + len(body)) + head + body


def response(correlation: int, body: bytes) -> bytes:
    return struct.pack("!ii", len(body) + 4, correlation) + body


def array(*items: bytes) -> bytes:
    return struct.pack("!i", len(items)) + b"".join(items)


def produce(correlation: int, topic: str, records: bytes, acks: int = -1, key: int = 0) -> bytes:
    """Version 7."""
    parts = array(string(topic) + array(struct.pack("!ii", 0, len(records)) + records))
    return request(key, 7, correlation, string(None) + struct.pack("!hi", acks, 30_000) + parts)


def produced(correlation: int, topic: str, error: int = 0) -> bytes:
    partition = struct.pack("!ihqqq", 0, error, 17, -1, 0)
    return response(correlation, array(string(topic) + array(partition)) + struct.pack("!i", 0))


def fetch(correlation: int, topic: str, wait_ms: int = 500) -> bytes:
    """Version 11."""
    head = struct.pack("!iiiibii", -1, wait_ms, 1, 1 << 20, 0, 0, -1)
    partition = struct.pack("!iiqqi", 0, -1, 5, -1, 1 << 20)
    return request(1, 11, correlation, head + array(string(topic) + array(partition)) + array() + string(""))


def fetched(correlation: int, topic: str, records: bytes, error: int = 0) -> bytes:
    partition = struct.pack("!ihqqq", 0, error, 9, 9, 0) + array() + struct.pack("!ii", -1, len(records)) + records
    return response(correlation, struct.pack("!ihi", 0, 0, 0) + array(string(topic) + array(partition)))


def fetch_by_id(correlation: int, topic: bytes) -> bytes:
    """Version 13."""
    head = struct.pack("!iiiibii", -1, 500, 1, 1 << 20, 0, 0, -1)
    partition = struct.pack("!iiqiqi", 0, -1, 5, -1, -1, 1 << 20) + b"\0"
    body = b"\0" + head + b"\2" + topic + b"\2" + partition + b"\0" + b"\1" + b"\1" + b"\0"
    return request(1, 13, correlation, body)


def fetched_by_id(correlation: int, topic: bytes, records: bytes) -> bytes:
    partition = struct.pack("!ihqqq", 0, 0, 9, 9, 0) + b"\1" + struct.pack("!i", -1)
    partition += bytes([len(records) + 1]) + records + b"\0"
    body = struct.pack("!ihi", 0, 0, 0) + b"\2" + topic + b"\2" + partition + b"\0" + b"\0"
    return response(correlation, b"\0" + body)


def metadata(correlation: int) -> bytes:
    """Version 12, of all topics."""
    return request(3, 12, correlation, b"\0" + b"\0" + b"\1\0\0")


def described(correlation: int, name: str, topic: bytes) -> bytes:
    broker = struct.pack("!i", 1) + compact("host") + struct.pack("!i", 9092) + b"\0" + b"\0"
    partition = (
        struct.pack("!hiii", 0, 0, 1, 0) + b"\2" + struct.pack("!i", 1) + b"\2" + struct.pack("!i", 1) + b"\1\0"
    )
    entry = struct.pack("!h", 0) + compact(name) + topic + b"\0" + b"\2" + partition + struct.pack("!i", 0) + b"\0"
    body = struct.pack("!i", 0) + b"\2" + broker + compact("cluster") + struct.pack("!i", 1) + b"\2" + entry + b"\0"
    return response(correlation, b"\0" + body)


def api_versions(correlation: int) -> bytes:
    """Version 3."""
    return request(18, 3, correlation, b"\0" + compact("java") + compact("3.9") + b"\0")


def versions(correlation: int, error: int = 0) -> bytes:
    return response(correlation, struct.pack("!h", error) + b"\2" + struct.pack("!hhh", 0, 0, 11) + b"\0" * 6)


def join(correlation: int, group: str) -> bytes:
    """JoinGroup version 5."""
    body = string(group) + struct.pack("!ii", 10_000, 10_000) + string("") + string(None) + string("consumer")
    return request(11, 5, correlation, body + array(string("range") + struct.pack("!i", 2) + b"\0\1"))


def joined(correlation: int, error: int) -> bytes:
    return response(
        correlation, struct.pack("!ihi", 0, error, 1) + string("") + string("") + string("member") + array()
    )
