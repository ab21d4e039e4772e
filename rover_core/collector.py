"""An exporter that keeps what profilers delivered in memory, for the command that started them."""

from collections.abc import Sequence

from rover_core.api import AgentContext, Batch
from rover_core.flows import TelemetryMerger
from rover_core.model import Profile, ProfileMerger, Telemetry


class Collector:
    """Merges what arrives of tasks, by task. room: stacks to keep of each task (`ProfileMerger`)."""

    name = "collector"

    def __init__(self, room: int | None = None) -> None:
        self._room = room
        self._mergers: dict[str, ProfileMerger] = {}
        self._telemetry: dict[str, TelemetryMerger] = {}

    async def start(self, context: AgentContext) -> None:
        pass

    async def export(self, batch: Batch) -> None:
        if not batch.task_id:
            return
        if isinstance(batch, Profile):
            self._mergers.setdefault(batch.task_id, ProfileMerger(self._room)).add(batch)
        else:
            self._telemetry.setdefault(batch.task_id, TelemetryMerger()).add(batch)

    async def stop(self) -> Sequence[str]:
        return []

    @property
    def telemetry(self) -> list[Telemetry]:
        """Added up by task, in the order the tasks delivered first."""
        return [telemetry for merger in self._telemetry.values() if (telemetry := merger.result()) is not None]

    @property
    def profiles(self) -> list[Profile]:
        """One merged profile a task, in the order the tasks delivered first."""
        return [profile for merger in self._mergers.values() if (profile := merger.result()) is not None]
