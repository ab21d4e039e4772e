"""The processes that a program counts one by one: the user side of its map `rover_targets`."""

from collections.abc import Iterable, Mapping

from rover_bpf.maps import BpfMap
from rover_bpf.program import MapInfo
from rover_core.errors import RoverError


class Targets:
    """Pids, of one loaded program."""

    def __init__(self, maps: Mapping[str, MapInfo]) -> None:
        self._map = BpfMap(maps["rover_targets"], "<u4", "<u4")

    def add(self, pids: Iterable[int]) -> None:
        """RoverError if there are too many."""
        try:
            for pid in pids:
                self._map.update(pid, 1)
        except OSError as error:
            raise RoverError(
                f"cannot watch more than {self._map.info.max_entries} processes one by one",
                why=error.strerror or "",
                remedy="profile all processes instead (--all)",
            ) from error

    def discard(self, pids: Iterable[int]) -> None:
        for pid in pids:
            self._map.delete(pid)
