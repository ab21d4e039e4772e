"""The mappings of processes as they were last seen alive."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rover_bpf.symbols.filetables import FileTables
from rover_bpf.symbols.process import ObservedProcess
from rover_bpf.symbols.procfs import read_maps, start_ticks
from rover_core.model import ProcessKey


class Snapshots:
    """Processes with their mappings, and with the tables of mapped files that could not be had later."""

    def __init__(self, proc: Path, tables: FileTables[Any], note: Callable[[str, str], None]) -> None:
        """proc: where the proc file system of the host is mounted; note: told (path, reason) of what may not be
        read.
        """
        self._proc = proc
        self._tables = tables
        self._note = note
        self._processes: dict[ProcessKey, ObservedProcess] = {}

    def __len__(self) -> int:
        return len(self._processes)

    def get(self, process: ProcessKey) -> ObservedProcess | None:
        """None if it was never seen alive, or forgotten."""
        return self._processes.get(process)

    def forget(self, process: ProcessKey) -> None:
        self._processes.pop(process, None)

    def observe(self, process: ProcessKey) -> tuple[ObservedProcess, bool] | None:
        """The process and whether its executable mappings changed; None, and nothing changes, if it has exited."""
        directory = self._proc / str(process.pid)
        maps = self._maps(directory)
        # Asked after reading: if the pid still is this process, then the mappings were this process's too.
        if maps is None or start_ticks(directory) != process.start_ticks:
            return None
        observed = self._processes.get(process)
        if observed is None:
            observed = self._processes[process] = ObservedProcess(directory)
        return observed, observed.update(maps, self._tables)

    def _maps(self, directory: Path) -> bytes | None:
        """None if the process is gone, nothing if it may not be looked at."""
        try:
            return read_maps(directory) or None  # a zombie has lost its memory already
        except PermissionError as error:
            self._note(str(directory / "maps"), str(error))
            return b""
        except OSError:
            return None
