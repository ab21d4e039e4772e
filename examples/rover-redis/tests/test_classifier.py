"""Which connections are Redis's."""

from pathlib import Path

import pytest

from rover_core.testing import Classify, compiled
from rover_redis.plugin import rover_protocols


@pytest.fixture
def classify(tmp_path: Path) -> Classify:
    (protocol,) = rover_protocols()
    return compiled(protocol, tmp_path)


def test_commands_and_answers_are_known(classify: Classify) -> None:
    """Broken: a connection is not recognised, or who asks and who answers is turned around."""
    for request in (b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n", b"*1\r\n$4\r\nping\r\n", b"*2\r\n$9\r\nSUBSCRIBE\r\n"):
        assert classify(request) == 1
    for answer in (b"+PONG\r\n", b":17\r\n", b"$5\r\nhello\r\n", b"%7\r\n$6\r\nserver\r\n"):
        assert classify(answer) == 2


def test_what_may_be_another_s_is_not_taken(classify: Classify) -> None:
    """Broken: a list of a client's values turns the connection around, or a mail server is read as Redis."""
    for other in (
        b"*2\r\n$5\r\nworld\r\n",
        b"+OK POP3 ready\r\n",
        b"-ERR [AUTH]\r\n",
        b":x\r\n",
        b"GET / HTTP/1.1\r\n",
        b"*",
    ):
        assert classify(other) == 0
