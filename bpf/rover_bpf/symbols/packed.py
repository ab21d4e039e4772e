"""String tables in a quarter of their size: compressed in blocks, of which the few in use are kept as they were.

Names are asked for rarely (frames are cached) and from few places, but they are most of a symbol table: of Node's
7.6 MB they are 6.3. They are compressed as they come, so that a table is never there in full.
"""

import zlib
from collections import OrderedDict

_BLOCK = 1 << 14
_KEPT_OPEN = 4
# The fastest level: it packs names to 1/3.6, the slowest to 1/4.4, in a sixth of the time.
_LEVEL = 1


class PackedNames:
    """NUL-terminated names by their offset in the table that was put in.

    size: bytes that were put in.
    """

    def __init__(self, table: bytes | bytearray = b"") -> None:
        self.size = 0
        self._blocks: list[bytes] = []
        self._packed = 0
        self._rest = bytearray()
        self._open: OrderedDict[int, bytes] = OrderedDict()
        self.append(table)

    def __len__(self) -> int:
        """Bytes of memory that this takes."""
        return self._packed + 64 * len(self._blocks) + len(self._rest) + min(len(self._blocks), _KEPT_OPEN) * _BLOCK

    def append(self, names: bytes | bytearray) -> int:
        """Put names behind the others; returns the offset of the first."""
        at = self.size
        self.size += len(names)
        self._rest += names
        whole = len(self._rest) // _BLOCK * _BLOCK
        with memoryview(self._rest) as view:
            packed = [zlib.compress(view[begin : begin + _BLOCK], _LEVEL) for begin in range(0, whole, _BLOCK)]
        del self._rest[:whole]
        self._blocks += packed
        self._packed += sum(map(len, packed))
        return at

    def name(self, offset: int) -> bytes:
        """The name that begins there; it may go on in later blocks."""
        number, start = divmod(offset, _BLOCK)
        parts: list[bytes] = []
        while number <= len(self._blocks):
            text = self._block(number)
            end = text.find(b"\0", start)
            if end >= 0:
                return b"".join((*parts, text[start:end]))
            parts.append(text[start:])
            number, start = number + 1, 0
        return b"".join(parts)

    def _block(self, number: int) -> bytes:
        if number == len(self._blocks):
            return bytes(self._rest)
        text = self._open.get(number)
        if text is None:
            text = self._open[number] = zlib.decompress(self._blocks[number])
            if len(self._open) > _KEPT_OPEN:
                self._open.popitem(last=False)
        else:
            self._open.move_to_end(number)
        return text
