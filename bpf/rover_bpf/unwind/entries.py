"""Entries of .eh_frame: CIEs, which functions share, and FDEs, one for each function (LSB Core 10.6.1)."""

import struct
from dataclasses import dataclass

from rover_bpf.symbols.files import Read
from rover_bpf.unwind.cursor import OMIT, CfiError, Cursor

_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_EXTENDED = 0xFFFFFFFF
# Nearly all entries are read in one go. Node's largest program has 2 232 instructions.
_FIRST_READ = 512
_MAX_ENTRY = 1 << 16
_CIE_VERSIONS = (1, 3, 4)


@dataclass(frozen=True, slots=True)
class Cie:
    """code_align, data_align: factors of advances and offsets. ra: column of the return address. encoding: of the
    FDEs' addresses. signal: its functions are where a signal handler returns to. program: initial instructions.
    """

    code_align: int
    data_align: int
    ra: int
    encoding: int
    augmented: bool
    signal: bool
    program: bytes


@dataclass(frozen=True, slots=True)
class Fde:
    """How to unwind out of addresses [start, end) of the file."""

    cie: Cie
    start: int
    end: int
    program: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry's content, with the cursor at its CIE pointer. size: bytes in the section, with the length field."""

    cursor: Cursor
    size: int

    def cie_at(self) -> int | None:
        """The address of the CIE this FDE belongs to; None if it is a CIE itself."""
        here = self.cursor.vaddr + self.cursor.at
        back = self.cursor.fixed(_U32)
        return here - back if back else None


def read_entry(read: Read, offset: int, vaddr: int) -> Entry | None:
    """The entry at this offset of the file, which is at `vaddr`; None at the section's end. Raises CfiError."""
    data = read(offset, _FIRST_READ)
    cursor = Cursor(data, vaddr)
    length = cursor.fixed(_U32)
    if length == _EXTENDED:
        length = cursor.fixed(_U64)
    if not length:
        return None
    end = cursor.at + length
    if end > _MAX_ENTRY:
        raise CfiError("an entry larger than any compiler's")
    if end > len(data):
        data = read(offset, end)
    if end > len(data):
        raise CfiError("cut off")
    return Entry(Cursor(data[:end], vaddr, cursor.at), end)


def parse_cie(entry: Entry) -> Cie:
    """Raises CfiError."""
    cursor = entry.cursor
    if entry.cie_at() is not None:
        raise CfiError("not a CIE")
    version = cursor.u8()
    if version not in _CIE_VERSIONS:
        raise CfiError(f"version {version} of a CIE")
    augmentation = cursor.text()
    if augmentation.startswith(b"eh"):
        raise CfiError("a CIE of a compiler of the nineties")
    if version == 4:
        cursor.take(2)  # sizes of addresses and segment selectors
    code_align, data_align = cursor.uleb(), cursor.sleb()
    ra = cursor.u8() if version == 1 else cursor.uleb()
    augmented = augmentation.startswith(b"z")
    encoding = _augmentation(Cursor(cursor.block()), augmentation[1:]) if augmented else 0
    return Cie(code_align, data_align, ra, encoding, augmented, b"S" in augmentation, cursor.data[cursor.at :])


def _augmentation(data: Cursor, letters: bytes) -> int:
    """The FDEs' pointer encoding. The personality and the place of its data (P, L) concern exceptions only."""
    for letter in letters.decode("latin-1"):
        if letter == "R":
            return data.u8()
        if letter == "L":
            data.u8()
        elif letter == "P":
            encoding = data.u8()
            if encoding != OMIT:
                data.number(encoding)
        elif letter not in "SBG":  # signal frame; AArch64: return addresses signed with key B; memory tagging
            raise CfiError(f"augmentation {letter!r}")
    return 0


def parse_fde(entry: Entry, cie: Cie) -> Fde:
    """An FDE whose CIE pointer was read already. Raises CfiError."""
    cursor = entry.cursor
    start = cursor.pointer(cie.encoding)
    end = start + cursor.number(cie.encoding & 0x0F)
    if cie.augmented:
        cursor.block()
    return Fde(cie, start, end, cursor.data[cursor.at :])
