"""What kafka-python does in an application's day, and its own account of it: `kafka_client.py PORT MESSAGES [tls]`.

A line of JSON for each request that it sent: API key, version, the error codes of its answer, null without one.
"""

import json
import ssl
import sys
from collections.abc import Iterator
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import KafkaError
from kafka.protocol.parser import KafkaProtocol
from kafka.protocol.types import Array, Schema

ACCOUNT: dict[tuple[int, int], dict[str, Any]] = {}
SECRET = b"s3cr3t"


def codes(kind: Any, value: Any) -> Iterator[int]:
    """Of all errors in a value of that kind, in their order."""
    if isinstance(kind, Schema):
        for name, inner, each in zip(kind.names, kind.fields, value, strict=True):
            if name == "error_code" and each:
                yield each
            yield from codes(inner, each)
    elif isinstance(kind, Array):
        for each in value or ():
            yield from codes(kind.array_of, each)


def keep_account() -> None:
    send, receive = KafkaProtocol.send_request, KafkaProtocol.receive_bytes

    def sending(self: KafkaProtocol, request: Any, *rest: Any, **more: Any) -> int:
        number: int = send(self, request, *rest, **more)
        ACCOUNT[id(self), number] = {"key": request.API_KEY, "version": request.API_VERSION, "errors": None}
        return number

    def receiving(self: KafkaProtocol, data: bytes) -> Any:
        answers = receive(self, data)
        for number, answer in answers:
            ACCOUNT[id(self), number]["errors"] = list(
                codes(answer.SCHEMA, [getattr(answer, name) for name in answer.SCHEMA.names])
            )
        return answers

    KafkaProtocol.send_request, KafkaProtocol.receive_bytes = sending, receiving


def work(port: int, messages: int, tls: bool) -> None:
    server: dict[str, Any] = {"bootstrap_servers": f"127.0.0.1:{port}"}
    if tls:
        context = ssl._create_unverified_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # it takes the tickets of 1.3 for answers to nothing
        server |= {"security_protocol": "SSL", "ssl_context": context}
    admin = KafkaAdminClient(**server)
    admin.create_topics([NewTopic("orders", 2, 1), NewTopic("events", 1, 1)])
    for wrong in (lambda: admin.create_topics([NewTopic("orders", 2, 1)]), lambda: admin.delete_topics(["absent"])):
        try:
            wrong()
            raise AssertionError("it should have failed")
        except KafkaError:
            pass
    for acks, compression in ((1, None), ("all", "gzip")):
        producer = KafkaProducer(**server, acks=acks, compression_type=compression, linger_ms=0)
        for number in range(messages):
            producer.send("orders", SECRET + b"%d" % number, key=b"%d" % (number % 7))
            if number % 10 == 0:
                producer.flush()
        producer.flush()
        producer.close()
    consumer = KafkaConsumer(
        "orders",
        **server,
        group_id="billing",
        auto_offset_reset="earliest",
        fetch_max_wait_ms=200,
        consumer_timeout_ms=60_000,
    )
    seen = sum(1 for _, _ in zip(range(2 * messages), consumer, strict=False))
    consumer.poll(500)
    consumer.commit()
    consumer.close()
    assert seen == 2 * messages, seen
    admin.list_consumer_groups()
    admin.describe_consumer_groups(["billing"])
    admin.delete_topics(["events"])
    admin.close()


if __name__ == "__main__":
    keep_account()
    work(int(sys.argv[1]), int(sys.argv[2]), "tls" in sys.argv[3:])
    for entry in ACCOUNT.values():
        print(json.dumps(entry))
