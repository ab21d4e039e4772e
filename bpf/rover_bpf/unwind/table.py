"""The call frame information of one file, read entry by entry as it is wanted."""

import os
from dataclasses import dataclass, field
from itertools import islice
from weakref import finalize

import numpy as np

from rover_bpf.symbols.cache import TableCache
from rover_bpf.symbols.debugfiles import Around
from rover_bpf.symbols.elf import Elf, Segment, named_sections, to_offset
from rover_bpf.symbols.files import Read, reader
from rover_bpf.symbols.filetables import FileTables
from rover_bpf.unwind.cfa import How, Row, row_at
from rover_bpf.unwind.cursor import Budget, CfiError
from rover_bpf.unwind.entries import Cie, Entry, Fde, parse_cie, parse_fde, read_entry
from rover_bpf.unwind.go import GoTable, read_go
from rover_bpf.unwind.index import Index, read_index
from rover_bpf.unwind.machine import MACHINES, Machine

_OVERHEAD = 2048
# Up to this size the entries are kept in memory (libc: 150 KB), beyond it the file is kept open (Node: 2.7 MB). The
# cache's budget thereby bounds descriptors too: the index of such a file takes at least an eighth of this.
_HELD_BYTES = 256 << 10
_MAX_CIES = 256
_MAX_PLTS = 4
# How many functions to look at to tell whether a file keeps frame pointers.
_PROBES = 48


def _nothing(_offset: int, _size: int) -> bytes:
    return b""


@dataclass(slots=True, eq=False)
class UnwindTable:
    """reason: why there is nothing in it, "" if there is; segments: empty where the file is no ELF file; plts:
    addresses [start, end) of procedure linkage tables; go: what a Go program has instead of the index, or beside it.
    """

    segments: tuple[Segment, ...] = ()
    machine: Machine | None = None
    index: Index | None = None
    read: Read = _nothing
    plts: tuple[tuple[int, int], ...] = ()
    held: int = 0
    go: GoTable | None = None
    reason: str = ""
    _cies: dict[int, Cie] = field(default_factory=dict)
    _keeps: bool | None = None

    @property
    def nbytes(self) -> int:
        return _OVERHEAD + self.held + sum(part.nbytes for part in (self.index, self.go) if part)

    def row(self, vaddr: int, budget: Budget) -> Row | None:
        """The row for the instruction at this address of the file; None if no entry covers it. Raises CfiError."""
        fde = self._fde(vaddr)
        if fde:
            return row_at(fde, vaddr, budget)
        return (self.go.row(vaddr, budget) if self.go else None) or self._plt_row(vaddr)

    def _plt_row(self, vaddr: int) -> Row | None:
        machine = self.machine
        if machine is None or machine.pc is None or machine.plt is None:
            return None
        inside = any(start <= vaddr < end for start, end in self.plts)
        return Row(machine.plt, ((machine.pc, How.OFFSET, -8),), machine.pc, False) if inside else None

    def _fde(self, vaddr: int) -> Fde | None:
        at = self.index.find(vaddr) if self.index else None
        fde = self._fde_at(at) if at is not None else None
        return fde if fde and fde.start <= vaddr < fde.end else None

    def _fde_at(self, at: int) -> Fde:
        entry = self._entry(at)
        owner = entry.cie_at()
        if owner is None:
            raise CfiError("not an FDE")
        cie = self._cies.get(owner)
        if cie is None:
            if len(self._cies) >= _MAX_CIES:
                self._cies.clear()
            cie = self._cies[owner] = parse_cie(self._entry(owner))
        return parse_fde(entry, cie)

    def _entry(self, vaddr: int) -> Entry:
        offset = to_offset(self.segments, vaddr)
        entry = None if offset is None else read_entry(self.read, offset, vaddr)
        if entry is None:
            raise CfiError("no entry where there should be one")
        return entry

    @property
    def keeps_frame_pointers(self) -> bool:
        """Whether its functions, by a sample of them, find their caller by the frame pointer."""
        if self._keeps is None:
            self._keeps = self._probe()
        return self._keeps

    def _probe(self) -> bool:
        if self.index is None or self.machine is None:
            return True
        picked = np.linspace(0, len(self.index.fdes) - 1, _PROBES, dtype=np.int64)
        found = [self._vote(self.index.base + fde) for fde in self.index.fdes[picked].tolist()]
        votes = [vote for vote in found if vote is not None]
        return sum(votes) >= 0.9 * len(votes)

    def _vote(self, at: int) -> bool | None:
        """By the middle of one function; None where it has no frame there, which both kinds may do without."""
        assert self.machine
        try:
            fde = self._fde_at(at)
            row = row_at(fde, (fde.start + fde.end) // 2, Budget(1 << 12))
        except CfiError:
            return None
        if not isinstance(row.cfa, tuple) or len(row.saved) < 2:
            return None
        return row.cfa[0] == self.machine.fp


def _plts(read: Read, elf: Elf) -> tuple[tuple[int, int], ...]:
    sections = (section for name, section in named_sections(read, elf) if name.startswith((b".plt", b".iplt")))
    return tuple((int(s["addr"]), int(s["addr"]) + int(s["size"])) for s in islice(sections, _MAX_PLTS))


def read_table(read: Read, elf: Elf, limit: int) -> UnwindTable:
    """The table of an ELF file, which goes on reading through `read`; or an empty one with the reason."""
    machine = MACHINES.get(elf.machine)
    if machine is None or elf.order != "<":
        return UnwindTable(elf.segments, reason=f"code for another processor (e_machine {elf.machine})")
    index, reason = None, ""
    try:
        index = read_index(read, elf, limit)
    except CfiError as error:
        reason = str(error)
    # Without sections the whole file would be searched for Go's table.
    go = read_go(read, elf, machine, limit) if len(elf.sections) or not index else None
    return UnwindTable(elf.segments, machine, index, read, _plts(read, elf), go=go, reason="" if go else reason)


class Tables(FileTables[UnwindTable]):
    """Tables by what their file is."""

    def __init__(self, cache: TableCache) -> None:
        super().__init__(cache, UnwindTable)

    def _parse(self, descriptor: int, elf: Elf, around: Around) -> UnwindTable:
        # The descriptor will be closed: hold the entries, or keep it open.
        table = read_table(_KeptOpen(descriptor).read, elf, self._cache.max_bytes * 3 // 4)
        if table.index:
            self._hold(table, table.index)
        else:
            table.read = _nothing
        return table

    def _without(self, reason: str) -> UnwindTable:
        return UnwindTable(reason=reason)

    def _hold(self, table: UnwindTable, index: Index) -> None:
        begin, size = to_offset(table.segments, index.frames), _size(table, index)
        if begin is None or size > min(_HELD_BYTES, self._cache.max_bytes // 16):
            return
        held = table.read(begin, size)
        table.held = len(held)
        table.read = lambda offset, size: held[offset - begin : offset - begin + size] if offset >= begin else b""


def _size(table: UnwindTable, index: Index) -> int:
    """Bytes from the first entry to the end of the last."""
    last = index.base + int(index.fdes.max())
    offset = to_offset(table.segments, last)
    try:
        entry = read_entry(table.read, offset, last) if offset is not None else None
    except CfiError:
        entry = None
    return last + (entry.size if entry else 0) - index.frames


class _KeptOpen:
    """A descriptor of its own, closed with the last one who reads through it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = os.dup(descriptor)
        finalize(self, os.close, self._descriptor)

    def read(self, offset: int, size: int) -> bytes:
        return reader(self._descriptor)(offset, size)
