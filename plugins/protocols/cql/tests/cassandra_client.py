"""cassandra-driver at work, and its own account of every message: JSON lines, for test_live.py.

`python cassandra_client.py PORT ROWS LARGE WAY...`, with ways as `4-lz4`, `5-none`, `5-none-tls`: so many rows are
written and read, and a value of so many bytes, in each version and compression.
It begins with a line on standard input.
"""

import contextlib
import json
import ssl
import sys
from typing import Any

from cassandra import AlreadyExists, ConsistencyLevel, InvalidRequest, Unavailable
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, Session
from cassandra.concurrent import execute_concurrent_with_args
from cassandra.connection import Connection
from cassandra.io.asyncioreactor import AsyncioConnection
from cassandra.io.libevreactor import LibevConnection
from cassandra.policies import FallthroughRetryPolicy
from cassandra.protocol import ErrorMessage, SyntaxException
from cassandra.query import BatchStatement, BatchType, SimpleStatement

SECRET = "s3cr3t"

account: list[dict[str, Any]] = []
_texts: dict[bytes, str] = {}


def listen() -> None:
    """Every message that the driver sends, with what it makes of the answer, and every event."""
    send, push = Connection.send_msg, Connection.handle_pushed

    def sent(self: Any, message: Any, number: int, cb: Any, *more: Any, **others: Any) -> Any:
        entry: dict[str, Any] = {
            "message": type(message).__name__,
            "statements": _statements(message),
            "outcome": None,
        }
        if (level := getattr(message, "consistency_level", None)) is not None:
            entry["consistency"] = ConsistencyLevel.value_to_name[level]
        account.append(entry)

        def answered(response: Any, *rest: Any, **named: Any) -> Any:
            if isinstance(response, ErrorMessage):
                entry["outcome"] = response.code
            else:
                entry["outcome"] = type(response).__name__
                if getattr(response, "query_id", None) is not None:
                    _texts[response.query_id] = message.query
                if getattr(response, "parsed_rows", None) is not None:
                    entry["rows"] = len(response.parsed_rows)
            return cb(response, *rest, **named)

        return send(self, message, number, answered, *more, **others)

    def pushed(self: Any, response: Any) -> Any:
        account.append({"message": "event", "statements": [response.event_type], "outcome": "EventMessage"})
        return push(self, response)

    Connection.send_msg, Connection.handle_pushed = sent, pushed


def _statements(message: Any) -> list[str]:
    if getattr(message, "queries", None) is not None:
        return [_texts[what] if prepared else what for prepared, what, _ in message.queries]
    if getattr(message, "query_id", None) is not None:
        return [_texts[message.query_id]]
    query = getattr(message, "query", None)
    return [query] if query is not None else []


def work(session: Session, version: int, rows: int, large: int) -> None:
    """Every kind of request, and errors of several."""
    replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    session.execute(f"CREATE KEYSPACE IF NOT EXISTS shop WITH replication = {replication}")
    session.set_keyspace("shop")
    session.execute("CREATE TABLE orders (id int PRIMARY KEY, name text, body blob)")
    too_many = SimpleStatement("SELECT * FROM orders", consistency_level=ConsistencyLevel.THREE)
    for wrong, kind in (
        ("CREATE TABLE orders (id int PRIMARY KEY, name text, body blob)", AlreadyExists),
        ("SELECT nonsense FROM", SyntaxException),
        (f"SELECT * FROM missing WHERE name = '{SECRET}'", InvalidRequest),
        (too_many, Unavailable),
    ):
        with contextlib.suppress(kind):
            session.execute(wrong)
            raise SystemExit(f"{wrong} was no error")
    session.execute("INSERT INTO orders (id, name) VALUES (%s, %s)", (9000, SECRET))
    session.execute(f"INSERT INTO orders (id, name) VALUES (9001, '{SECRET}') IF NOT EXISTS")
    insert = session.prepare("INSERT INTO orders (id, name, body) VALUES (?, ?, ?)")
    execute_concurrent_with_args(
        session, insert, [(each, SECRET, b"x" * each) for each in range(rows)], concurrency=40
    )
    select = session.prepare("SELECT id, name FROM orders WHERE id = ?")
    select.consistency_level = ConsistencyLevel.QUORUM
    execute_concurrent_with_args(session, select, [(each,) for each in range(rows)], concurrency=40)
    batch = BatchStatement(batch_type=BatchType.UNLOGGED)
    for each in range(12):
        batch.add(insert, (each, SECRET, None))
    batch.add(SimpleStatement("DELETE FROM orders WHERE id = 3"))
    session.execute(batch)
    session.execute(insert, (9002, SECRET, bytes(range(256)) * (large // 256)))
    assert len(list(session.execute(SimpleStatement("SELECT * FROM orders", fetch_size=50)))) == rows + 2
    session.execute("SELECT name FROM orders WHERE id = 5", trace=True)
    if version >= 4:
        session.execute(
            SimpleStatement("SELECT name FROM orders WHERE id = 6"), custom_payload={"key": SECRET.encode()}
        )
    session.execute("DROP KEYSPACE shop")


def main(port: int, version: int, compression: str, tls: bool, rows: int, large: int) -> None:
    profile = ExecutionProfile(request_timeout=60, retry_policy=FallthroughRetryPolicy())
    cluster = Cluster(
        ["127.0.0.1"],
        port=port,
        protocol_version=version,
        compression=False if compression == "none" else compression,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        connection_class=LibevConnection if tls else AsyncioConnection,  # asyncio's takes no socket of ssl
        ssl_context=ssl._create_unverified_context() if tls else None,
        schema_metadata_enabled=False,
        token_metadata_enabled=False,
        idle_heartbeat_interval=0,
        connect_timeout=60,
        control_connection_timeout=60,
    )
    work(cluster.connect(), version, rows, large)
    cluster.shutdown()


if __name__ == "__main__":
    listen()
    sys.stdin.readline()
    for way in sys.argv[4:]:
        version, compression, *tls = way.split("-")
        main(int(sys.argv[1]), int(version), compression, bool(tls), int(sys.argv[2]), int(sys.argv[3]))
    for entry in account:
        print(json.dumps(entry))
