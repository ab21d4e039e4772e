"""Rover's suite for protocols, and what of Redis is in no other protocol."""

from rover_core.api import WireProtocol
from rover_core.testing import ProtocolConformance, Transcript
from rover_core.wire import Direction, Limits, Rendering
from rover_redis.plugin import misses, render, rover_protocols

C, S = Direction.CLIENT, Direction.SERVER


def command(*words: str) -> bytes:
    strings = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
    return f"*{len(words)}\r\n{strings}".encode()


def push(*words: str) -> bytes:
    return b">" + command(*words)[1:]


class TestRedis(ProtocolConformance):
    def make(self) -> WireProtocol:
        (protocol,) = rover_protocols()
        return protocol

    def transcripts(self) -> list[Transcript]:
        return [
            Transcript(
                "one after the other",
                [
                    (C, command("SET", "user:7", "x" * 40)),
                    (S, b"+OK\r\n"),
                    (C, command("get", "user:7")),
                    (S, b"$40\r\n" + b"x" * 40 + b"\r\n"),
                    (C, command("LPUSH", "user:7", "y")),
                    (S, b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
                    (C, command("GET", "absent")),
                    (S, b"$-1\r\n"),
                    (C, command("CONFIG", "GET", "save")),
                    (S, command("save", "")),
                ],
                [
                    ("SET", "OK", False),
                    ("GET", "OK", False),
                    ("LPUSH", "WRONGTYPE", True),
                    ("GET", "OK", False),
                    ("CONFIG GET", "OK", False),
                ],
            ),
            Transcript(
                "a transaction in one go",
                [
                    (C, command("MULTI") + command("INCR", "n") + command("KEYS", "*") + command("EXEC")),
                    (S, b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:7\r\n*2\r\n$1\r\nn\r\n$-1\r\n"),
                ],
                [("MULTI", "OK", False), ("INCR", "OK", False), ("KEYS", "OK", False), ("EXEC", "OK", False)],
                independent=False,
            ),
            Transcript(
                "RESP3",
                [
                    (C, command("HELLO", "3", "AUTH", "default", "secret")),
                    (S, b"%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n"),
                    (C, command("HGETALL", "h")),
                    (S, b"|1\r\n+ttl\r\n:9\r\n%1\r\n$1\r\na\r\n,1.5\r\n"),
                    (C, command("SMEMBERS", "s")),
                    (S, b"~3\r\n#t\r\n(123456789012345678901\r\n_\r\n"),
                    (C, command("JSON.GET", "doc")),
                    (S, b"=7\r\ntxt:{ }\r\n"),
                ],
                [
                    ("HELLO", "OK", False),
                    ("HGETALL", "OK", False),
                    ("SMEMBERS", "OK", False),
                    ("JSON.GET", "OK", False),
                ],
            ),
            Transcript(
                "channels",
                [
                    (C, command("SUBSCRIBE", "news")),
                    (S, b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n"),
                    (S, command("message", "news", "hello")),
                    (C, command("UNSUBSCRIBE", "news")),
                    (S, b"*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n"),
                ],
                [("SUBSCRIBE", "OK", False), ("MESSAGE", "OK", False), ("UNSUBSCRIBE", "OK", False)],
                independent=False,
            ),
            Transcript(
                "a cluster's redirection, and a person at a terminal",
                [
                    (C, command("GET", "k")),
                    (S, b"-MOVED 3999 127.0.0.1:6381\r\n"),
                    (C, b"PING\r\n"),
                    (S, b"+PONG\r\n"),
                ],
                [("GET", "MOVED", False), ("PING", "OK", False)],
                independent=False,
            ),
        ]


def exchanges(*steps: tuple[Direction, bytes]) -> list[tuple[str, str]]:
    (protocol,) = rover_protocols()
    connection = protocol.connect(Limits())
    found = [each for at, (side, data) in enumerate(steps) for each in connection.feed(side, data, 0, at + 1)]
    return [(each.operation, each.status) for each in (*found, *connection.close())]


def test_a_subscription_to_several_channels_is_one_exchange() -> None:
    """Broken: the answers for the other channels are taken for answers to what is asked next."""
    answers = b"".join(b"*3\r\n$9\r\nsubscribe\r\n$1\r\n%c\r\n:1\r\n" % name for name in b"abc")
    assert exchanges(
        (C, command("SUBSCRIBE", "a", "b", "c")), (S, answers), (C, command("PING")), (S, b"+PONG\r\n")
    ) == [
        ("SUBSCRIBE", "OK"),
        ("PING", "OK"),
    ]


def test_what_comes_unasked_answers_nothing() -> None:
    """Broken: a push between command and answer shifts all answers by one."""
    steps = (
        (C, command("GET", "a")),
        (S, push("invalidate", "b") + b"$1\r\nx\r\n"),
        (C, command("DEL", "a")),
        (S, b":1\r\n"),
    )
    assert exchanges(*steps) == [("", "OK"), ("GET", "OK"), ("DEL", "OK")]
    monitored = ((C, command("MONITOR")), (S, b"+OK\r\n"), (S, b'+1700000000.1 [0 127.0.0.1:5] "GET" "a"\r\n'))
    assert exchanges(*monitored) == [("MONITOR", "OK")]


def test_a_replica_is_left_alone() -> None:
    """Broken: a snapshot's bytes are read as answers."""
    (protocol,) = rover_protocols()
    connection = protocol.connect(Limits())
    connection.feed(C, command("PSYNC", "?", "-1"), 0, 1)
    assert connection.switched == "replication"


def test_names_of_a_stranger_make_no_new_operations() -> None:
    """Broken: a client that sends nonsense fills every table with it."""
    assert exchanges((C, command("FROBNICATE", "secret")), (S, b"-ERR unknown command\r\n")) == [("other", "ERR")]


def test_keys_and_values_never_leave_the_parser() -> None:
    """Broken: a password or a value is in an operation, in what is kept of a message, or in its text."""
    (protocol,) = rover_protocols()
    connection = protocol.connect(Limits(content=0))
    connection.feed(C, command("AUTH", "user", "canary"), 0, 1)
    (exchange,) = connection.feed(S, b"-WRONGPASS invalid canary\r\n", 0, 2)
    shown = [render(message, Rendering()) for message in (exchange.request, exchange.response) if message]
    assert shown == ["AUTH, 3 words", "-WRONGPASS"]
    assert "canary" not in repr(exchange).lower()


def test_keys_that_are_not_there_are_counted() -> None:
    """Broken: the share of misses is wrong."""
    (protocol,) = rover_protocols()
    connection = protocol.connect(Limits())
    asked = command("GET", "a") + command("GET", "b") + command("SET", "a", "1")
    connection.feed(C, asked, 0, 1)
    found = connection.feed(S, b"$-1\r\n$1\r\nx\r\n+OK\r\n", 0, 2)
    assert [misses(exchange) for exchange in found] == [1, 0, None]
