"""Many short connections that are alike, as one: what they come to is told per flow anyway.

Looking at a row in Python takes some 40 us, and a host may make ten thousand connections a second, each with two
ends. So where there are many rows, those of one process with one peer are added up with numpy first.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from rover_bpf.maps import Array
from rover_network.connections import AF_UNIX, ENDS, TCP
from rover_network.rows import FACTS, FIGURES, ROLES

FOLD_FROM = 2048
"""Rows: fewer are looked at one by one."""
_AT_ONCE = 2048
_LOOPBACK_4 = np.frombuffer(bytes(10) + b"\xff\xff\x7f", np.uint8)
_LOOPBACK_6 = np.frombuffer(bytes(15) + b"\x01", np.uint8)
_ALIKE = np.dtype([("facts", FACTS), ("tgid", "<u4"), ("other", "<u4"), ("single", "<u4")])


class Folded(NamedTuple):
    """keys, rows: shape (n,), one for each kind of connection. sizes: how many connections each stands for.

    group: which of these each of the given rows is in. ends: what each of the given rows is between, as
    `connections.ends_key` writes it; empty where nothing was folded.
    """

    keys: Array
    rows: Array
    sizes: Array
    group: Array
    ends: Sequence[bytes] = ()


def fold(keys: Array, rows: Array, holder: Callable[[bytes], int]) -> Folded:
    """Add up what differs in nothing but a TCP client's port, and has the same process at the other end.

    keys, rows: shape (n,), dtypes KEY and ROW. holder: the process that was seen at these ends before, 0 if none was.
    """
    if len(rows) < FOLD_FROM:
        return Folded(keys, rows, _stands_for(rows), np.arange(len(rows)))
    facts = rows["facts"]
    ends = _ends(facts, "local", "remote")
    alike = np.zeros(len(rows), _ALIKE)
    alike["facts"], alike["tgid"] = facts, keys["tgid"]
    alike["other"] = _others(ends, _ends(facts, "remote", "local"), keys["tgid"], holder)
    roles = facts["role"] * ((facts["protocol"] == TCP) & (facts["family"] != AF_UNIX))
    alike["facts"]["local_port"][roles == ROLES.index("client")] = 0
    alike["facts"]["remote_port"][roles == ROLES.index("server")] = 0
    alike["single"] = np.where(roles, 0, np.arange(1, len(rows) + 1))  # these stay as they are
    names = alike.view(f"S{_ALIKE.itemsize}")
    _, first, group, members = np.unique(names, return_index=True, return_inverse=True, return_counts=True)
    sizes = np.bincount(group, _stands_for(rows)).astype(np.int64)
    ends[facts["shared"] == 1] = b""  # of several: nobody has these
    return Folded(keys[first], _summed(rows, first, group, members), sizes, group, ends.tolist())


def _stands_for(rows: Array) -> Array:
    """How many connections each row is of: a shared one at least of those that were made meanwhile."""
    made = rows["sums"][:, FIGURES.index("connect")]
    return np.where(rows["facts"]["shared"], made["histogram"].sum(axis=1) + made["untimed"], 1).clip(min=1)


def _summed(rows: Array, first: Array, group: Array, members: Array) -> Array:
    order = np.argsort(group, kind="stable")
    ends = np.cumsum(members)
    folded = rows[first]
    for at in np.flatnonzero(members > 1).tolist():
        alike = order[ends[at] - members[at] : ends[at]]
        for name in ("bytes", "ns", "untimed", "histogram"):
            folded["sums"][name][at] = _total(rows["sums"][name], alike)
        for name in ("retransmits", "drops", "errors"):
            folded[name][at] = _total(rows[name], alike)
    return folded


def _total(column: Array, which: Array) -> Array:
    """Of these rows, some at a time: all of them together would be tens of MB."""
    parts = [column[which[at : at + _AT_ONCE]].sum(axis=0) for at in range(0, len(which), _AT_ONCE)]
    total: Array = np.sum(parts, axis=0)
    return total


def _ends(facts: Array, local: str, remote: str) -> Array:
    """As `connections.ends_key`, of all; seen from the other end if local and remote are swapped. dtype S."""
    looped = np.zeros(len(facts), bool)
    made = np.zeros(len(facts), ENDS)
    for name, place in ((local, "local"), (remote, "remote")):
        address = facts[name]
        looped |= (address[:, :13] == _LOOPBACK_4).all(axis=1) | (address == _LOOPBACK_6).all(axis=1)
        made[place], made[f"{place}_port"] = address, facts[f"{name}_port"]
    made["protocol"] = facts["protocol"]
    made["where"] = np.where(looped, facts["netns"], 0)
    return made.view(f"S{ENDS.itemsize}")


def _others(ends: Array, mirrored: Array, processes: Array, holder: Callable[[bytes], int]) -> Array:
    """The process at the other end of each, 0 where nobody knows."""
    order = np.argsort(ends)
    place = order[np.searchsorted(ends[order], mirrored).clip(max=len(ends) - 1)]
    met = ends[place] == mirrored
    others = np.where(met, processes[place], 0)
    unmet = np.flatnonzero(~met)
    others[unmet] = [holder(each) for each in mirrored[unmet].tolist()]
    return others
