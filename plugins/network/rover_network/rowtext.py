"""Rows of the kernel as JSON, by the names of their fields: for recordings, which outlive a layout."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rover_bpf.maps import Array
from rover_network.rows import FACTS, FIGURES, KEY, ROW

_COUNTS = ("retransmits", "drops", "errors")
_SUMS = ("bytes", "ns", "untimed")
_BYTES = {"local", "remote"}


def told(keys: Array, rows: Array) -> Iterator[dict[str, Any]]:
    """One for each row. Arrays of one length, dtypes KEY and ROW; what is 0 is left out."""
    names = FACTS.names or ()
    for key, row in zip(keys.tolist(), rows, strict=True):
        facts = row["facts"]
        figures = {name: _figure(row["sums"][at]) for at, name in enumerate(FIGURES)}
        yield {
            "key": key,
            "facts": {name: value for name in names if (value := _plain(facts[name]))},
            "figures": {name: figure for name, figure in figures.items() if figure},
        } | {name: int(row[name]) for name in _COUNTS if row[name]}


def _plain(value: Any) -> int | str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.tobytes().hex().strip("0") and value.tobytes().hex() if isinstance(value, np.ndarray) else int(value)


def _figure(sums: Any) -> dict[str, Any]:
    histogram = {str(at): int(sums["histogram"][at]) for at in np.flatnonzero(sums["histogram"]).tolist()}
    figure: dict[str, Any] = {name: int(sums[name]) for name in _SUMS if sums[name]}
    return figure | ({"histogram": histogram} if histogram else {})


def read(records: Sequence[Mapping[str, Any]]) -> tuple[Array, Array]:
    """Keys and rows. ValueError for what `told` never writes."""
    keys, rows = np.zeros(len(records), KEY), np.zeros(len(records), ROW)
    try:
        for at, record in enumerate(records):
            inode, tgid, peer = record["key"]
            keys[at] = (inode, tgid, peer)
            _fill(rows[at], record)
    except (KeyError, TypeError, AttributeError, OverflowError, IndexError) as error:
        raise ValueError(f"no row: {type(error).__name__}") from None
    return keys, rows


def _fill(row: Any, record: Mapping[str, Any]) -> None:
    for name, value in record["facts"].items():
        if name in _BYTES:
            row["facts"][name] = np.frombuffer(bytes.fromhex(value), "u1", 16)
        elif name in (FACTS.names or ()):
            row["facts"][name] = value.encode() if name == "comm" else int(value)
    for name, figure in record["figures"].items():
        sums = row["sums"][FIGURES.index(name)]
        for part in _SUMS:
            sums[part] = int(figure.get(part, 0))
        for bucket, count in figure.get("histogram", {}).items():
            if int(bucket) < 0:
                raise ValueError("no such bucket")
            sums["histogram"][int(bucket)] = int(count)
    for name in _COUNTS:
        row[name] = int(record.get(name, 0))
