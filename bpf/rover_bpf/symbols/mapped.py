"""One file in one process's memory, and the ways to get at it: now, later, and after the process has gone."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from rover_bpf.symbols.cache import Table
from rover_bpf.symbols.debugfiles import Around
from rover_bpf.symbols.files import FileId, file_id, open_regular
from rover_bpf.symbols.filetables import FileTables
from rover_bpf.symbols.maps import Mapping

T = TypeVar("T", bound=Table)


class MappedFile:
    """A file as one process maps it.

    identity: what the file is, once that is known: the same for every process that maps it. reason: why it could
    not be read, "" if it could or nobody tried.
    """

    def __init__(self, mapping: Mapping, directory: Path) -> None:
        """directory: /proc/<pid>."""
        self.identity: FileId | None = None
        self.reason = ""
        self._mapping = mapping
        self._directory = directory

    def settle(self, tables: FileTables[Any]) -> None:
        """To be called while the process lives: make sure that its table can be had after its death.

        If this host's path leads to the very same file, opening it can wait until it is wanted. What is deleted or
        in another mount namespace is read at once.
        """
        inside, host = self._status(self._inside), self._status(self._mapping.path)
        # On overlayfs and btrfs maps shows another device than stat does. Where both paths can be looked at, their
        # two stats agree or not; else the inode number has to do.
        if host and (inside is None or os.path.samestat(inside, host)):
            self.identity = file_id(host)
        else:
            self.table(tables)

    def table(self, tables: FileTables[T]) -> T | None:
        """The file's table, read now unless it is held already; None (and a reason, for good) if it cannot be had."""
        if self.identity and (table := tables.known(self.identity)):
            return table
        if not self.reason:
            try:
                return self._first(tables)
            except OSError as error:
                self.reason = str(error)
        return None

    def _first(self, tables: FileTables[T]) -> T:
        refusals = []
        for path in self._paths():
            try:
                return self._load(path, tables)
            except OSError as error:
                refusals.append(str(error))
        raise OSError("; ".join(refusals))

    @property
    def _around(self) -> Around:
        return Around(self._mapping.named_path, (self._directory / "root", Path("/")))

    @property
    def _inside(self) -> Path:
        return self._directory / "root" / self._mapping.named_path.lstrip("/")

    def _paths(self) -> Iterator[Path]:
        yield Path(self._mapping.named_path)
        yield self._inside
        # This one shows deleted files too, to those with CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN; the next one
        # shows one file only, but to all who may trace the process.
        yield self._directory / "map_files" / f"{self._mapping.start:x}-{self._mapping.end:x}"
        yield self._directory / "exe"

    def _status(self, path: str | Path) -> os.stat_result | None:
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return None
        return status if status.st_ino == self._mapping.inode else None

    def _load(self, path: Path, tables: FileTables[T]) -> T:
        descriptor = open_regular(path)
        try:
            self._check(path, os.fstat(descriptor))
            self.identity, table = tables.load(descriptor, self._around)
            return table
        finally:
            os.close(descriptor)

    def _check(self, path: Path, status: os.stat_result) -> None:
        """OSError unless this is the mapped file: a path may show another one by now, a pid another process."""
        if self.identity:
            same = self.identity == file_id(status)
        else:
            on_host = path == Path(self._mapping.named_path)
            same = status.st_ino == self._mapping.inode and (not on_host or status.st_dev == self._mapping.device)
        if not same:
            raise OSError(f"{path} is not the file that is mapped")
