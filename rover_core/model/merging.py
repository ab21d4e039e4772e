"""Several profiles of one task become one."""

from collections.abc import Iterable
from dataclasses import replace

from rover_core.model.completeness import Completeness
from rover_core.model.figures import sums
from rover_core.model.processes import ProcessKey
from rover_core.model.profiles import Frame, Labels, Profile, StackSample

_Place = tuple[ProcessKey, str, tuple[Frame, ...], tuple[Frame, ...], Labels]


class ProfileMerger:
    """Adds up profiles of one task: equal stacks become one sample.

    room: stacks to keep at most; beyond it the lightest half is let go and counted in `let_go` (first sample type),
    so a run of weeks stays small. None keeps all.
    """

    def __init__(self, room: int | None = None) -> None:
        self._room = room
        self._totals: dict[_Place, tuple[int, ...]] = {}
        self._last: Profile | None = None
        self._start_ns = 0
        self._completeness = Completeness()
        self._attributes: dict[str, str] = {}
        self.let_go = 0

    def add(self, profile: Profile) -> None:
        if self._last is None:
            self._start_ns = profile.start_ns
        self._start_ns = min(self._start_ns, profile.start_ns)
        self._completeness += profile.completeness
        self._attributes.update(profile.attributes)
        for sample in profile.samples:
            place = (sample.process, sample.name, sample.user, sample.kernel, sample.labels)
            known = self._totals.get(place)
            self._totals[place] = sample.values if known is None else sums(known, sample.values)
        if self._room and len(self._totals) > self._room:
            self._thin_out(self._room // 2)
        self._last = replace(profile, samples=(), end_ns=max(profile.end_ns, self._last.end_ns if self._last else 0))

    def _thin_out(self, keep: int) -> None:
        heaviest = sorted(self._totals.items(), key=lambda item: item[1][0], reverse=True)
        self.let_go += sum(values[0] for _, values in heaviest[keep:])
        self._totals = dict(heaviest[:keep])

    def result(self) -> Profile | None:
        """The sum; None if nothing was added."""
        if self._last is None:
            return None
        return replace(
            self._last,
            start_ns=self._start_ns,
            samples=tuple(StackSample(*p[:4], values, p[4]) for p, values in self._totals.items()),
            completeness=self._completeness,
            attributes=self._attributes,
        )


def merge_profiles(profiles: Iterable[Profile]) -> Profile:
    """One profile out of several of the same task. Raises ValueError for none."""
    merger = ProfileMerger()
    for profile in profiles:
        merger.add(profile)
    result = merger.result()
    if result is None:
        raise ValueError("no profile to merge")
    return result
