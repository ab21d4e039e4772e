"""The loss ledger: what was expected, what arrived, and what became of the rest."""

from collections.abc import Mapping

from rover_core.model import Completeness, Loss


class Ledger:
    """Sums completeness by profiler, and what each exporter failed to take away. Unit: samples."""

    def __init__(self) -> None:
        self._profilers: dict[str, Completeness] = {}
        self._exporters: dict[str, Completeness] = {}

    def profiled(self, profiler: str, completeness: Completeness) -> None:
        """A profiler delivered a profile."""
        self._profilers[profiler] = self._profilers.get(profiler, Completeness()) + completeness

    def delivered(self, exporter: str, samples: int) -> None:
        """An exporter took a batch of so many samples."""
        self._add(exporter, Completeness(samples, samples))

    def dropped(self, exporter: str, samples: int, cause: Loss) -> None:
        """A batch of so many samples never reached what the exporter exports to."""
        self._add(exporter, Completeness(samples, 0, {cause: samples} if samples else {}))

    def lost_later(self, exporter: str, samples: int, cause: Loss) -> None:
        """So many samples that an exporter had taken did not reach what it exports to after all."""
        self._add(exporter, Completeness(0, -samples, {cause: samples} if samples else {}))

    def _add(self, exporter: str, completeness: Completeness) -> None:
        self._exporters[exporter] = self._exporters.get(exporter, Completeness()) + completeness

    @property
    def profilers(self) -> Mapping[str, Completeness]:
        return self._profilers

    @property
    def exporters(self) -> Mapping[str, Completeness]:
        return self._exporters
