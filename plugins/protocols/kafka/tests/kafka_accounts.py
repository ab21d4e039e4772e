"""kafka-python's account of its requests (`kafka_client.py`) as exchanges."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from rover_core.wire import Exchange
from rover_kafka.connection import FETCH, error_name
from rover_kafka.plans import APIS

Account = list[dict[str, Any]]
Told = tuple[str, str]
"""API and status: the first error's name, `NONE`, or empty where no answer came."""


def read_account(text: str) -> Account:
    return [json.loads(line) for line in text.splitlines()]


def told(account: Account) -> "Counter[Told]":
    return Counter((APIS[entry["key"]].name, _status(entry["errors"])) for entry in account)


def _status(errors: list[int] | None) -> str:
    return "" if errors is None else error_name(errors[0] if errors else 0)


def found(exchanges: Iterable[Exchange]) -> "Counter[Told]":
    return Counter((plain(each.operation_class), each.status) for each in exchanges)


def plain(operation: str) -> str:
    """The API of an operation: the client's account does not say which Fetch brought nothing."""
    name = operation.split(" ")[0]
    return APIS[FETCH].name if name == APIS[FETCH].name else name
