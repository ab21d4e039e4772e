"""Reading bytes a stranger wrote: whatever is not there, or makes no sense, is a CfiError."""

import struct

_MAX_LEB = 10  # bytes of a 64-bit number
_MASK = (1 << 64) - 1
_MAX_TEXT = 64

OMIT = 0xFF
# DW_EH_PE_*: LSB Core 10.5.1. The low half says how wide, the high half relative to what.
_ABSPTR, _ULEB, _SLEB = 0x00, 0x01, 0x09
_PCREL, _DATAREL, _INDIRECT = 0x10, 0x30, 0x80
_FIXED = {
    _ABSPTR: struct.Struct("<Q"),
    0x02: struct.Struct("<H"),
    0x03: struct.Struct("<I"),
    0x04: struct.Struct("<Q"),
    0x0A: struct.Struct("<h"),
    0x0B: struct.Struct("<i"),
    0x0C: struct.Struct("<q"),
}


class CfiError(Exception):
    """Call frame information that is cut off, malformed, or of a kind that nothing writes."""


class Budget:
    """Steps that are left: a stranger's program may cost no more than this."""

    __slots__ = ("left",)

    def __init__(self, steps: int) -> None:
        self.left = steps


def signed(value: int) -> int:
    """A 64-bit number as two's complement."""
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


class Cursor:
    """A place in some bytes, which lie at `vaddr` in their file's own addresses."""

    __slots__ = ("at", "data", "end", "vaddr")

    def __init__(self, data: bytes, vaddr: int = 0, at: int = 0) -> None:
        self.data = data
        self.vaddr = vaddr
        self.at = at
        self.end = len(data)

    def u8(self) -> int:
        if self.at >= self.end:
            raise CfiError("cut off")
        self.at += 1
        return self.data[self.at - 1]

    def fixed(self, layout: struct.Struct) -> int:
        if self.at + layout.size > self.end:
            raise CfiError("cut off")
        value: int = layout.unpack_from(self.data, self.at)[0]
        self.at += layout.size
        return value

    def uleb(self) -> int:
        """LEB128 (DWARF 5 section 7.6), at most ten bytes of it, cut to 64 bits."""
        value = 0
        for shift in range(0, 7 * _MAX_LEB, 7):
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & _MASK
        raise CfiError("a number without end")

    def sleb(self) -> int:
        begin, value = self.at, self.uleb()
        bits = 7 * (self.at - begin)
        return value - (1 << bits) if bits < 64 and value >> (bits - 1) else signed(value)

    def block(self) -> bytes:
        """Bytes with their number, as a ULEB128, before them."""
        return self.take(self.uleb())

    def take(self, size: int) -> bytes:
        if size > self.end - self.at:
            raise CfiError("cut off")
        self.at += size
        return self.data[self.at - size : self.at]

    def text(self) -> bytes:
        """Bytes up to a NUL, which is skipped."""
        end = self.data.find(b"\0", self.at, min(self.end, self.at + _MAX_TEXT))
        if end < 0:
            raise CfiError("a text without end")
        begin, self.at = self.at, end + 1
        return self.data[begin:end]

    def pointer(self, encoding: int, base: int = 0) -> int:
        """An encoded pointer as an address of the file, 64 bits; base: what data-relative ones count from.

        Aligned, text- and function-relative ones are written by no linker for these architectures, and an indirect
        one can only be followed in the process's memory.
        """
        if encoding & _INDIRECT:
            raise CfiError("an indirect pointer")
        relative = {0: 0, _PCREL: self.vaddr + self.at, _DATAREL: base}.get(encoding & 0x70)
        if relative is None:
            raise CfiError(f"pointer encoding {encoding:#x}")
        return (relative + self.number(encoding)) & _MASK

    def number(self, encoding: int) -> int:
        """The bare number of an encoded pointer."""
        form = encoding & 0x0F
        if form == _ULEB:
            return self.uleb()
        if form == _SLEB:
            return self.sleb()
        if form not in _FIXED:
            raise CfiError(f"pointer encoding {encoding:#x}")
        return self.fixed(_FIXED[form])
