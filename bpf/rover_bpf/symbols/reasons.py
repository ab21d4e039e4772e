"""Why something is missing, by what it concerns."""

_MAX_REASONS = 256


class Reasons:
    """The latest 256 reasons, one for each file or module."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}

    @property
    def latest(self) -> dict[str, str]:
        return dict(self._reasons)

    def note(self, what: str, why: str) -> None:
        self._reasons.pop(what, None)
        self._reasons[what] = why
        if len(self._reasons) > _MAX_REASONS:
            del self._reasons[next(iter(self._reasons))]
