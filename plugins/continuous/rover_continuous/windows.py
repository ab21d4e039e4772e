"""The last seconds of a value: what thresholds are compared with."""

from array import array
from collections.abc import Iterator


class Window:
    """Slots of one second each; a slot's value is part / whole, and it has none while its whole is 0.

    Seconds are of any clock that does not go backwards. What is older than the window's length is forgotten, be there
    newer values or not.
    """

    __slots__ = ("_latest", "_parts", "_wholes", "length_s")

    def __init__(self, length_s: int) -> None:
        self.length_s = length_s
        self._parts = array("d", bytes(8 * length_s))
        self._wholes = array("d", bytes(8 * length_s))
        self._latest = 0

    def put(self, since: int, second: int, value: float) -> None:
        """The value of the seconds behind `since` up to `second`: of the time between two looks."""
        length_s = self.length_s
        first = max(min(since, second - 1), second - length_s) + 1
        self._advance(first - 1)
        for each in range(first, second + 1):
            self._parts[each % length_s], self._wholes[each % length_s] = value, 1.0
        self._latest = max(self._latest, second)

    def add(self, second: int, part: float, whole: float) -> None:
        """Add to a second's part and whole, whether it is the newest or not."""
        self._advance(second)
        if second > self._latest - self.length_s:
            self._parts[second % self.length_s] += part
            self._wholes[second % self.length_s] += whole

    def _advance(self, second: int) -> None:
        """Empty the slots up to this second that are not known yet."""
        if second <= self._latest:
            return
        for each in range(max(self._latest, second - self.length_s) + 1, second + 1):
            self._parts[each % self.length_s] = self._wholes[each % self.length_s] = 0.0
        self._latest = second

    def slots(self, since: int, second: int) -> Iterator[tuple[int, float, float]]:
        """(second, part, whole) of the slots behind `since` up to `second` that have a value, the oldest first."""
        for each in range(max(since, self._latest - self.length_s) + 1, min(second, self._latest) + 1):
            at = each % self.length_s
            if self._wholes[at]:
                yield each, self._parts[at], self._wholes[at]

    def values(self, since: int, second: int) -> list[float]:
        """The values of these slots."""
        return [part / whole for _, part, whole in self.slots(since, second)]

    def resized(self, length_s: int) -> "Window":
        """The same values in a window of another length."""
        window = Window(length_s)
        for second, part, whole in self.slots(self._latest - length_s, self._latest):
            window.add(second, part, whole)
        return window
