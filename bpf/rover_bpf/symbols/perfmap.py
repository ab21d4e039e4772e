"""Names of code that was compiled at run time: /tmp/perf-<pid>.map (perf-map format of Linux's tools/perf).

Node (--perf-basic-prof), CPython (-X perf), JVM agents and others append a line `START SIZE name` in hexadecimal
for each piece of code. Anybody may create a file of that name in /tmp, so only one of the process's own user (or
root) counts, as in perf itself.
"""

import os
import re
from pathlib import Path

from rover_bpf.symbols.files import open_regular, reader
from rover_bpf.symbols.jit import Compiled, compact, merge
from rover_bpf.symbols.procfs import read_status
from rover_bpf.symbols.table import EMPTY, SymbolTable

# The name begins with no blank: else a line of blanks could be split in as many ways as it has blanks.
_LINE = re.compile(
    rb"^(?:0x)?([0-9a-fA-F]{1,16})[ \t]+(?:0x)?([0-9a-fA-F]{1,8})[ \t]+([^\s\0][^\n\0]{0,4095})$", re.MULTILINE
)
_CHUNK = 1 << 18
# Read in one go; what a file has grown beyond that since is left for the next time.
_MAX_READ = 16 << 20
_USER_END = 1 << 63


class PerfMap:
    """The perf map of one process, kept up to date by `refresh`.

    Code of a later line replaces code of earlier lines at the same place: that was freed and its memory reused.
    reason: why lines are missing, "" if none are.
    """

    def __init__(self, directory: Path, limit: int) -> None:
        """directory: /proc/<pid>; limit: most bytes that the table may take."""
        self.symbols = EMPTY
        self.reason = ""
        self._directory = directory
        self._limit = limit
        self._file = (0, 0)
        self._done = 0
        self._full = False

    @property
    def nbytes(self) -> int:
        return self.symbols.nbytes

    def refresh(self) -> bool:
        """Read what the file has grown by; whether that changed anything. Never raises."""
        status = read_status(self._directory)
        if status is None:
            return False
        path = self._directory / "root" / "tmp" / f"perf-{status.nspid}.map"
        try:
            descriptor = open_regular(path, follow=False)
            try:
                return self._read_tail(descriptor, status.uids | {0})
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            return False
        except OSError as error:
            self.reason = str(error)
            return False

    def _read_tail(self, descriptor: int, owners: frozenset[int]) -> bool:
        status = os.fstat(descriptor)
        if status.st_uid not in owners:
            self.reason = f"the perf map belongs to uid {status.st_uid}, not to the process's user"
            return False
        if (status.st_dev, status.st_ino) != self._file or status.st_size < self._done:
            self._file, self._done, self._full = (status.st_dev, status.st_ino), 0, False
            self.symbols = EMPTY
        self.reason = self.reason if self._full else ""
        before = self._done
        read = reader(descriptor)
        while self._done < min(status.st_size, before + _MAX_READ) and not self._full:
            chunk = read(self._done, _CHUNK)
            # The last line may be half written. A line that fills the whole chunk is junk.
            whole = chunk[: chunk.rfind(b"\n") + 1] or (chunk if len(chunk) == _CHUNK else b"")
            if not whole:
                break
            self._done += len(whole)
            self._add(whole)
        return self._done > before

    def _add(self, lines: bytes) -> None:
        new = Compiled()
        for line in _LINE.finditer(lines):
            start, size = int(line[1], 16), int(line[2], 16)
            if size and start < _USER_END:
                new.add(start, size, line[3])
        if new.starts:
            self._keep(merge(self.symbols, new))

    def _keep(self, merged: SymbolTable) -> None:
        self.symbols = merged if merged.nbytes <= self._limit else compact(merged)
        if self.symbols.nbytes > self._limit:
            # All or nothing: without what follows, new code would go by the names of what was there before.
            self.symbols, self._full = EMPTY, True
            self.reason = f"the perf map's names take more than {self._limit} bytes"
