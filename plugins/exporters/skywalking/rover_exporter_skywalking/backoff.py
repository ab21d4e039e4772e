"""How long to wait before another try."""

import random


class Backoff:
    """Doubles with each failure, up to a bound, and is spread so that a thousand agents do not come back at once."""

    def __init__(self, first_s: float = 0.5, most_s: float = 20.0) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._next_s = first_s

    def reset(self) -> None:
        """It worked."""
        self._next_s = self._first_s

    def after_failure(self) -> float:
        """Seconds to wait: between half of the present step and all of it."""
        step_s = self._next_s
        self._next_s = min(2 * step_s, self._most_s)
        return random.uniform(step_s / 2, step_s)
