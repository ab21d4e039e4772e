"""From samples to a call tree, within bounded memory.

Equal stacks are first collapsed into tuples of small integers (eight bytes a frame). Sorted, they are the tree in
depth-first order: each stack shares a prefix with the one before, so the tree is written node by node into flat
arrays, and what turns out too small is cut off the end of those arrays again. Only what is kept is ever held.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import zip_longest
from typing import NamedTuple

from rover_core.hottest import function_name
from rover_core.model import Frame, Profile, StackSample
from rover_core.showing import marks

MAX_DEPTH = 512
"""Boxes on top of each other, counted from the process. Deeper calls are summed up in a remainder."""


class Kind(IntEnum):
    """What a node of the tree stands for. The numbers are part of the flame graph's data."""

    ROOT = 0
    PROCESS = 1
    USER = 2
    KERNEL = 3
    UNRESOLVED = 4
    REMAINDER = 5
    MARK = 6


class Place(NamedTuple):
    """What equal frames have in common."""

    name: str
    module: str
    kind: Kind
    kernel: bool = False


@dataclass(slots=True)
class Stacks:
    """places: every distinct frame; values: by stack, root (the process) first, as indices of `places`."""

    places: list[Place] = field(default_factory=list)
    values: dict[tuple[int, ...], int] = field(default_factory=dict)


def collapse(profile: Profile, name: Callable[[Frame], str] = function_name) -> Stacks:
    """Equal stacks of processes of one name added up, by the first sample type. Zeros are left out."""
    stacks = Stacks()
    numbers: dict[Place, int] = {}
    by_object: dict[int, int] = {}

    def number(place: Place) -> int:
        if place not in numbers:
            numbers[place] = len(stacks.places)
            stacks.places.append(place)
        return numbers[place]

    def frame_number(frame: Frame) -> int:
        # The profile keeps its frames alive, so an address is as good as the frame and ten times cheaper to hash.
        known = by_object.get(id(frame))
        if known is None:
            known = by_object[id(frame)] = number(_place(frame, name))
        return known

    for sample in profile.samples:
        if sample.values[0]:
            path = (number(Place(sample.name, "", Kind.PROCESS)), *map(frame_number, _root_first(sample)))
            if sample.labels:
                added = reversed(marks(sample.labels, profile.attributes))
                path += tuple(number(Place(mark, "", Kind.MARK)) for mark in added)
            stacks.values[path] = stacks.values.get(path, 0) + sample.values[0]
    return stacks


def _root_first(sample: StackSample) -> Iterable[Frame]:
    yield from reversed(sample.user)
    yield from reversed(sample.kernel)


def _place(frame: Frame, name: Callable[[Frame], str]) -> Place:
    resolved = Kind.KERNEL if frame.kernel else Kind.USER
    kind = resolved if frame.symbol else Kind.UNRESOLVED
    return Place(name(frame), frame.module, kind, frame.kernel)


@dataclass(slots=True)
class CallTree:
    """Nodes in depth-first order, a node before its children; node 0 is the root.

    depths: distance from the root. places: index into `names`. own: the value of a node without its children.
    Remainder nodes hold what was left out below their parent, so sums stay right. pruned_nodes, pruned_value: how
    many nodes were left out, and how much of the total is in remainders.
    """

    names: list[Place]
    depths: array[int] = field(default_factory=lambda: array("H"))
    places: array[int] = field(default_factory=lambda: array("L"))
    own: array[int] = field(default_factory=lambda: array("Q"))
    total: int = 0
    pruned_nodes: int = 0
    pruned_value: int = 0


def build_tree(stacks: Stacks, max_nodes: int, resolution: int) -> CallTree:
    """The tree of everything worth at least 1/resolution of the total, and of the largest max_nodes nodes of that."""
    total = sum(stacks.values.values())
    paths = sorted(stacks.values)
    builder = _Builder(stacks, total // resolution)
    tree = builder.build(paths)
    if len(tree.depths) > max_nodes:
        # Each kept node may get a remainder, so there is room for half as many; of equal nodes all or none stay.
        threshold = sorted(builder.kept_totals, reverse=True)[max_nodes // 2] + 1
        tree = _Builder(stacks, threshold).build(paths)
    return tree


@dataclass(slots=True)
class _Open:
    """A node whose children are still being added."""

    place: int
    index: int
    total: int = 0
    left_out: int = 0


class _Builder:
    def __init__(self, stacks: Stacks, threshold: int) -> None:
        self.stacks = stacks
        self.threshold = threshold
        names = [*stacks.places, Place("all", "", Kind.ROOT), Place("…", "", Kind.REMAINDER)]
        self.tree = CallTree(names)
        self.remainder = len(names) - 1
        self.kept_totals: array[int] = array("Q")
        self.open: list[_Open] = []
        self.opened = 0

    def build(self, paths: Sequence[tuple[int, ...]]) -> CallTree:
        self._enter(self.remainder - 1)
        shared = 0
        for path, following in zip_longest(paths, paths[1:], fillvalue=()):
            while len(self.open) > min(shared, MAX_DEPTH) + 1:
                self._leave()
            shared_before, shared = shared, _shared(path, following)
            self._walk(path, shared_before, shared)
        while self.open:
            self._leave()
        self._count_pruned()
        return self.tree

    def _walk(self, path: tuple[int, ...], shared_before: int, shared_after: int) -> None:
        """Enter what the path before did not, and add its value at the end."""
        value, depth = self.stacks.values[path], min(len(path), MAX_DEPTH)
        if value < self.threshold:
            # What no other path shares would be cut when left; most of a profile never needs to be entered.
            depth = min(depth, max(shared_before, shared_after))
            self.opened += len(path) - depth
        for place in path[shared_before:depth]:
            self._enter(place)
        node = self.open[-1]
        node.total += value
        if depth == len(path):
            self.tree.own[node.index] += value
        else:
            node.left_out += value

    def _count_pruned(self) -> None:
        tree = self.tree
        remainders = [own for place, own in zip(tree.places, tree.own, strict=True) if place == self.remainder]
        tree.pruned_nodes = self.opened - (len(tree.places) - len(remainders))
        tree.pruned_value = sum(remainders)

    def _enter(self, place: int) -> None:
        self.open.append(_Open(place, len(self.tree.depths)))
        self.opened += 1
        self._append(len(self.open) - 1, place, 0)

    def _append(self, depth: int, place: int, own: int) -> None:
        self.tree.depths.append(depth)
        self.tree.places.append(place)
        self.tree.own.append(own)

    def _leave(self) -> None:
        node = self.open.pop()
        if not self.open:
            self.tree.total = node.total
        else:
            parent = self.open[-1]
            parent.total += node.total
            if node.total < self.threshold:
                self._cut(node.index)
                parent.left_out += node.total
                return
        self.kept_totals.append(node.total)
        if node.left_out:
            self._append(len(self.open) + 1, self.remainder, node.left_out)

    def _cut(self, index: int) -> None:
        for column in (self.tree.depths, self.tree.places, self.tree.own):
            del column[index:]


def _shared(left: tuple[int, ...], right: tuple[int, ...]) -> int:
    count = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        count += 1
    return count
