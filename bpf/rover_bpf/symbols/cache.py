"""Tables within one budget of bytes; what was not asked for the longest goes first."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Protocol


class Table(Protocol):
    @property
    def nbytes(self) -> int: ...


class TableCache:
    """Any number of tables, together at most `max_bytes`. Not safe for concurrent use."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes_used = 0
        self.evicted = 0
        self._tables: OrderedDict[Hashable, tuple[Table, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tables)

    def get(self, key: Hashable) -> Table | None:
        """The table, which now counts as just used; None if it was never put or had to go."""
        entry = self._tables.get(key)
        if entry is None:
            return None
        self._tables.move_to_end(key)
        return entry[0]

    def put(self, key: Hashable, table: Table) -> None:
        """Keep it; put it again after it grew. One that is larger than the whole budget is not kept."""
        self.discard(key)
        # The size is taken now: evicting must give back exactly what was counted.
        size = table.nbytes
        if size > self.max_bytes:
            return
        while self.bytes_used + size > self.max_bytes:
            _, (_, freed) = self._tables.popitem(last=False)
            self.bytes_used -= freed
            self.evicted += 1
        self._tables[key] = (table, size)
        self.bytes_used += size

    def discard(self, key: Hashable) -> None:
        _, size = self._tables.pop(key, (None, 0))
        self.bytes_used -= size
