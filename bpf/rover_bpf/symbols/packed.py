"""String tables in a quarter of their size: compressed in blocks, of which the few in use are kept as they were.

Names are asked for rarely (frames are cached) and from few places, but they are most of a symbol table: of Node's
7.6 MB they are 6.3. They are compressed as they come, so that a table is never there in full. The first 32 KB stay
as they are: they are the dictionary for the rest, which saves a tenth to a third of it (linkers order names by hash,
so a block alone repeats little).
"""

import zlib
from collections import OrderedDict

_BLOCK = 1 << 14
_KEPT_OPEN = 4
_DICTIONARY = 2 * _BLOCK
# 70 MB/s, and within a tenth of the best level, which has 25.
_LEVEL = 3


class PackedNames:
    """NUL-terminated names by their offset in the table that was put in.

    size: bytes that were put in.
    """

    def __init__(self, table: bytes | bytearray = b"") -> None:
        self.size = 0
        self._dictionary = b""
        self._blocks: list[bytes] = []
        self._packed = 0
        self._rest = bytearray()
        self._open: OrderedDict[int, bytes] = OrderedDict()
        self.append(table)

    def __len__(self) -> int:
        """Bytes of memory that this takes."""
        blocks = len(self._blocks)
        return len(self._dictionary) + len(self._rest) + self._packed + 64 * blocks + min(blocks, _KEPT_OPEN) * _BLOCK

    def append(self, names: bytes | bytearray) -> int:
        """Put names behind the others; returns the offset of the first."""
        at = self.size
        self.size += len(names)
        self._rest += names
        if not self._dictionary and len(self._rest) >= _DICTIONARY:
            self._dictionary = bytes(self._rest[:_DICTIONARY])
            del self._rest[:_DICTIONARY]
        if self._dictionary:
            self._pack()
        return at

    def _pack(self) -> None:
        whole = len(self._rest) // _BLOCK * _BLOCK
        with memoryview(self._rest) as view:
            for begin in range(0, whole, _BLOCK):
                packer = zlib.compressobj(_LEVEL, zdict=self._dictionary)
                self._blocks.append(packer.compress(view[begin : begin + _BLOCK]) + packer.flush())
                self._packed += len(self._blocks[-1])
        del self._rest[:whole]

    def name(self, offset: int) -> bytes:
        """The name that begins there; it may go on in later blocks."""
        parts: list[bytes] = []
        while offset < self.size:
            begin, text = self._around(offset)
            end = text.find(b"\0", offset - begin)
            if end >= 0:
                return b"".join((*parts, text[offset - begin : end]))
            parts.append(text[offset - begin :])
            offset = begin + len(text)
        return b"".join(parts)

    def _around(self, offset: int) -> tuple[int, bytes]:
        """The piece that holds this byte, and where it begins."""
        if offset < len(self._dictionary):
            return 0, self._dictionary
        number = min((offset - len(self._dictionary)) // _BLOCK, len(self._blocks))
        begin = len(self._dictionary) + number * _BLOCK
        return begin, self._block(number) if number < len(self._blocks) else bytes(self._rest)

    def _block(self, number: int) -> bytes:
        text = self._open.get(number)
        if text is None:
            text = self._open[number] = zlib.decompressobj(zdict=self._dictionary).decompress(self._blocks[number])
            if len(self._open) > _KEPT_OPEN:
                self._open.popitem(last=False)
        else:
            self._open.move_to_end(number)
        return text
