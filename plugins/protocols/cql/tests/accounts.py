"""The driver's account of its messages (`cassandra_client.py`) as exchanges."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from rover_core.wire import Exchange
from rover_cql.digest import digest
from rover_cql.messages import ERRORS

_NAMES = {"OptionsMessage": "OPTIONS", "StartupMessage": "STARTUP", "RegisterMessage": "REGISTER"}
_PREFIXES = {"event": "EVENT ", "PrepareMessage": "PREPARE ", "BatchMessage": "BATCH "}

Account = list[dict[str, Any]]
Told = tuple[str, str, bool, str, int | None]
"""Operation, status, whether it is an error, consistency, rows."""


def read_account(text: str) -> Account:
    return [json.loads(line) for line in text.splitlines()]


def told(account: Account) -> "Counter[Told]":
    return Counter(map(_told, account))


def _told(entry: dict[str, Any]) -> Told:
    kind, outcome = entry["message"], entry["outcome"]
    statements = list(dict.fromkeys(map(digest, entry["statements"])))
    text = "; ".join(statements[:2]) + ("; ..." if len(statements) > 2 else "")
    operation = _NAMES.get(kind) or _PREFIXES.get(kind, "") + text
    status = ERRORS[outcome] if isinstance(outcome, int) else "OK"
    return operation, status, isinstance(outcome, int), entry.get("consistency", ""), entry.get("rows")


def found(exchanges: Iterable[Exchange]) -> "Counter[Told]":
    return Counter(
        (
            each.operation,
            each.status,
            each.error,
            each.request.detail.consistency if each.request else "",
            each.response.detail.rows if each.response else None,
        )
        for each in exchanges
    )
