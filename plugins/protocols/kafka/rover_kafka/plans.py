"""Where in a Kafka message stands what an exchange is named and judged by, for every version of every API.

`schemas.json` is made of Kafka's own definitions by `make_schemas.py`. In a plan, a number is so many bytes of no
interest, and a letter a field: `s` string, `b` bytes, `r` records, `t` topic's name, `g` group's, `i` topic's id, `e`
error code, `a` acks, `w` the wait that a fetch allows, `h` how long the broker throttled. Capitals are the compact
forms of flexible versions (KIP-482), `_` is tagged fields, `(...)` an array of what is inside, `[...]` a compact one,
`<...>` something that may be null.
"""

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is one
from typing import Any

Plan = tuple[tuple[str, Any], ...]
"""What stands in a message, in order: a letter, and the bytes to skip or what is inside of an array."""

_SHORT, _INT, _ARRAY = Struct("!h"), Struct("!i"), Struct("!I")
_TOKEN = re.compile(r"\d+ |\D")
_CLOSED = {"(": ")", "[": "]", "<": ">"}
_NULL_ARRAY = 0xFFFFFFFF
_LONGEST_VARINT = 5


class Found:
    """What a message says, as far as its bytes go. partial: they end before what may be of interest does.

    record_bytes: of all partitions, as compressed. acks, wait_ms, throttle_ms: -1 where the message has none.
    """

    __slots__ = ("acks", "errors", "group", "ids", "partial", "record_bytes", "throttle_ms", "topics", "wait_ms")

    def __init__(self) -> None:
        self.topics: list[str] = []
        self.ids: list[bytes] = []
        self.errors: list[int] = []
        self.group = ""
        self.acks = self.wait_ms = self.throttle_ms = -1
        self.record_bytes = 0
        self.partial = False


def read(plan: Plan, data: bytes, at: int) -> Found:
    """Follow a plan. Nothing is allocated or looped over by a number in the message alone."""
    found = Found()
    try:
        _follow(plan, data, at, found)
    except (IndexError, StructError):
        found.partial = True
    return found


def _follow(plan: Plan, data: bytes, at: int, found: Found) -> int:
    for kind, inside in plan:
        if kind == "skip":
            at += inside
        elif kind == "e":
            (code,) = _SHORT.unpack_from(data, at)
            at += 2
            if code:
                found.errors.append(code)
        elif kind in "TSG":
            length = data[at] - 1
            at += 1
            if length >= 0x7F:
                length, at = _varint(data, at - 1)
            end = at + length if length > 0 else at
            if kind != "S":
                _named(kind, data, at, end, found)
            at = end
        elif kind in "tsg":
            (length,) = _SHORT.unpack_from(data, at)
            at += 2
            end = at + length if length > 0 else at
            if kind != "s":
                _named(kind.upper(), data, at, end, found)
            at = end
        elif kind == "[":
            count, at = _varint(data, at)
            at = _each(inside, count, data, at, found)
        elif kind == "(":
            (count,) = _ARRAY.unpack_from(data, at)
            at = _each(inside, 0 if count == _NULL_ARRAY else count, data, at + 4, found)
        elif kind == "_":
            at = at + 1 if data[at] == 0 else _tagged(data, at)
        elif kind in "RB":
            length, at = _varint(data, at)
            at += max(0, length)
            if kind == "R":
                found.record_bytes += max(0, length)
        elif kind in "rbwh":
            (number,) = _INT.unpack_from(data, at)
            at = _integer(kind, number, at + 4, found)
        elif kind == "i":
            if at + 16 > len(data):
                raise IndexError
            found.ids.append(bytes(data[at : at + 16]))
            at += 16
        elif kind == "a":
            (found.acks,) = _SHORT.unpack_from(data, at)
            at += 2
        elif kind == "<":
            null = data[at] == 0xFF
            at = at + 1 if null else _follow(inside, data, at + 1, found)
    return at


def _integer(kind: str, number: int, at: int, found: Found) -> int:
    if kind == "w":
        found.wait_ms = number
    elif kind == "h":
        found.throttle_ms = number
    else:
        at += max(0, number)
        if kind == "r":
            found.record_bytes += max(0, number)
    return at


def _named(kind: str, data: bytes, at: int, end: int, found: Found) -> None:
    if end > len(data):
        raise IndexError
    if end == at:
        return
    name = data[at:end].decode("utf-8", "replace")
    if kind == "T":
        found.topics.append(name)
    else:
        found.group = name


def _each(plan: Plan, count: int, data: bytes, at: int, found: Found) -> int:
    if len(plan) == 1 and plan[0][0] == "skip":
        return at + int(plan[0][1]) * max(0, count)
    if plan:
        while count > 0:
            at = _follow(plan, data, at, found)
            if at > len(data):
                raise IndexError
            count -= 1
    return at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A length or count, which is written as one more so that 0 can be null; and where it ends."""
    number, end = _unsigned(data, at)
    return number - 1, end


def _unsigned(data: bytes, at: int) -> tuple[int, int]:
    number = 0
    for index in range(_LONGEST_VARINT):
        byte = data[at + index]
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number, at + index + 1
    raise IndexError


def _tagged(data: bytes, at: int) -> int:
    count, at = _unsigned(data, at)
    while count > 0:
        _, at = _unsigned(data, at)
        length, at = _unsigned(data, at)
        at += length
        count -= 1
    return at


class Api:
    """name: as Kafka's documentation has it. versions: of all brokers that the definitions are of."""

    __slots__ = ("_ranges", "name", "versions")

    def __init__(self, name: str, ranges: list[list[Any]]) -> None:
        self.name = name
        self.versions = range(ranges[0][0], ranges[-1][1] + 1)
        self._ranges = ranges

    def plans(self, version: int) -> tuple[Plan, Plan]:
        """Of the request's and the response's bodies. Nothing is known of a version that is newer than all."""
        for first, last, request, response in self._ranges:
            if first <= version <= last:
                return _compiled(request), _compiled(response)
        return (), ()


@lru_cache(maxsize=256)
def _compiled(text: str) -> Plan:
    tokens = iter(_TOKEN.findall(text))
    return tuple(_fields(tokens, ""))


def _fields(tokens: Iterator[str], until: str) -> Iterator[tuple[str, Any]]:
    for token in tokens:
        if token == until:
            return
        if token in _CLOSED:
            yield token, tuple(_fields(tokens, _CLOSED[token]))
        elif token[0].isdigit():
            yield "skip", int(token)
        else:
            yield token, None


def _load() -> tuple[dict[int, Api], dict[int, str]]:
    made = json.loads(Path(__file__).with_name("schemas.json").read_text())
    apis = {int(key): Api(*value) for key, value in made["apis"].items() if value[1]}
    return apis, {int(code): name for code, name in made["errors"].items()}


APIS, ERRORS = _load()
"""Every API by its key; the names of error codes."""
