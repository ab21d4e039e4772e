"""A driver's account of what it sent (`mysql_client.py`, `statements.c`) as exchanges."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from rover_core.wire import Exchange
from rover_mysql.digest import digest

_NAMES = {-1: "LOGIN", 1: "QUIT", 2: "INIT_DB", 4: "FIELD_LIST", 9: "STATISTICS", 14: "PING", 17: "CHANGE_USER"}
_NAMES |= {25: "CLOSE", 26: "RESET", 27: "SET_OPTION", 31: "RESET_CONNECTION"}
_SILENT = ("QUIT", "CLOSE")
_QUERY, _PREPARE, _EXECUTE, _LONG_DATA, _FETCH, _BULK_EXECUTE = 3, 22, 23, 24, 28, 250
READ = 3999  # bytes of a statement that are looked at

Account = list[dict[str, Any]]


class Told(NamedTuple):
    """rows, affected: None where nobody says."""

    operation: str
    status: str
    error: bool
    rows: int | None = None
    affected: int | None = None


def read_account(text: str) -> Account:
    return [json.loads(line) for line in text.splitlines()]


def told(account: Account) -> list[Told]:
    """Without SEND_LONG_DATA, which nothing answers: some of it is behind what is captured of a turn."""
    return list(_told(account))


def _told(account: Account) -> Iterator[Told]:
    prepared = ""
    for entry in account:
        if entry["command"] == _LONG_DATA:
            continue
        command, text = entry["command"], digest(entry["text"].encode()[:READ].decode("utf-8", "replace"))
        if command == _PREPARE:
            prepared = text
        named = {_QUERY: text, _PREPARE: f"PREPARE {text}", _FETCH: f"FETCH {prepared}"}
        named |= {_EXECUTE: prepared, _BULK_EXECUTE: prepared}
        operation = named.get(command) or _NAMES[command]
        status = f"{entry['code']} ({entry['state']})" if entry["code"] else "OK"
        if operation in _SILENT:
            status = ""
        yield Told(operation, status, bool(entry["code"]), entry.get("rows"), entry.get("affected"))


def found(exchanges: Iterable[Exchange], account: list[Told]) -> list[Told]:
    """What was read, without the figures that the account has not, or that were not captured."""
    seen = list(exchanges)
    said = [*account, *[Told("", "", False)] * len(seen)]
    return [_as_told(each, its.rows, its.affected) for each, its in zip(seen, said, strict=False)]


def _as_told(exchange: Exchange, rows: int | None, affected: int | None) -> Told:
    answer = exchange.response and exchange.response.detail
    known = answer and exchange.complete
    return Told(
        exchange.operation,
        exchange.status,
        exchange.error,
        (answer.rows if known else rows) if rows is not None else None,
        (answer.affected if known else affected) if affected is not None else None,
    )
