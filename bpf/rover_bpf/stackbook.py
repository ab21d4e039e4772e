"""Addresses of stacks, by the hash or id that stands for them in counted keys, as long as they may be asked for."""

from array import array
from collections.abc import Collection, Mapping
from typing import TypeAlias

from rover_bpf.maps import Array
from rover_core.model import Loss

Addresses: TypeAlias = "Array | array[int]"


class StackBook:
    """Stacks of the events that are counted now, and of those that are counted later.

    An event may be counted under a stack that was taken epochs ago (a long wait), or just when the maps were flipped.
    So a stack is kept while something still waits with it, and for one turn after that.
    """

    def __init__(self) -> None:
        self._latest: dict[int, Addresses] = {}
        self._previous: dict[int, Addresses] = {}
        self._waited_for: dict[int, Addresses] = {}
        self._flaws: dict[int, Loss] = {}

    def add(self, stacks: Mapping[int, Addresses]) -> None:
        self._latest.update(stacks)

    def add_flawed(self, key: int, addresses: Addresses, flaw: Loss | None) -> None:
        self._latest[key] = addresses
        if flaw:
            self._flaws[key] = flaw

    def find(self, key: int) -> list[int]:
        """The addresses, leaf first; empty if there are none."""
        found = self._latest.get(key)
        if found is None:
            found = self._previous.get(key)
        return [] if found is None else found.tolist()

    def flaw(self, key: int) -> Loss | None:
        """Why the stack is not whole; None if it is, or if nobody can tell."""
        return self._flaws.get(key)

    def turn(self, waiting: Collection[int]) -> None:
        """An epoch is over: the latest are the previous now, and of those only what something waits with stays."""
        both = {**self._previous, **self._latest}
        kept = {key: both[key] for key in waiting if key in both}
        # What was waited for a turn ago, too: such a wait may have ended since the flip, before anyone looked.
        self._previous = {**self._waited_for, **kept, **self._latest}
        self._waited_for, self._latest = kept, {}
        self._flaws = {key: flaw for key, flaw in self._flaws.items() if key in self._previous}
