"""Member offsets of the running kernel's structures, read from its own BTF.

Format: Documentation/bpf/btf.rst. Only as much is decoded as it takes to find a structure by name and a member in
it, nested and anonymous ones included. 5 MB and 130 000 types take about 0.1 s, and memory that the agent does not
want: the loader child does this, so nothing is imported here but the standard library.
"""

import struct
from functools import cached_property
from pathlib import Path

VMLINUX = Path("/sys/kernel/btf/vmlinux")

_MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")
_TYPE = struct.Struct("<III")
_MEMBER = struct.Struct("<III")
_STRUCT, _UNION, _TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG = 4, 5, 8, 9, 10, 11, 18
_MODIFIERS = (_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG)
# Bytes behind a type's 12-byte head: a fixed part and one for each of its `vlen` elements. btf.rst, section 2.2.
_EXTRA = {
    1: (4, 0), 2: (0, 0), 3: (12, 0), 4: (0, 12), 5: (0, 12), 6: (0, 8), 7: (0, 0), 8: (0, 0), 9: (0, 0), 10: (0, 0),
    11: (0, 0), 12: (0, 0), 13: (0, 8), 14: (4, 0), 15: (0, 12), 16: (0, 0), 17: (4, 0), 18: (0, 0), 19: (0, 12),
}  # fmt: skip


class BtfError(Exception):
    """The type information is absent or cannot be read: (what, why, remedy)."""


_REMEDY = "Rover needs a kernel built with CONFIG_DEBUG_INFO_BTF=y (distributions' kernels since 2020)"


class Btf:
    """The types of one BTF file. Raises BtfError if it is absent or of an unknown format."""

    def __init__(self, path: Path = VMLINUX) -> None:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BtfError(
                f"no type information of the kernel at {path}",
                error.strerror or str(error),
                _REMEDY,
            ) from error
        try:
            magic, _, _, header, types, types_length, strings, strings_length = _HEADER.unpack_from(data)
        except struct.error:
            magic = 0
        if magic != _MAGIC:
            raise BtfError(f"{path} is not BTF", f"it starts with {data[:2].hex() or 'nothing'}, not 9feb", _REMEDY)
        self._types = data[header + types : header + types + types_length]
        self._strings = data[header + strings : header + strings + strings_length]

    @cached_property
    def _positions(self) -> list[int]:
        """Byte position of each type, by its id; id 0 is void."""
        positions = [-1]
        position, end, unpack = 0, len(self._types), _TYPE.unpack_from
        while position < end:
            positions.append(position)
            info = unpack(self._types, position)[1]
            fixed, each = _EXTRA[info >> 24 & 0x1F]
            position += 12 + fixed + each * (info & 0xFFFF)
        return positions

    def _name(self, offset: int) -> str:
        return self._strings[offset : self._strings.index(b"\0", offset)].decode()

    def _structure(self, name: str) -> int:
        needle = self._strings.find(b"\0" + name.encode() + b"\0") + 1
        for position in self._positions[1:] if needle else ():
            name_offset, info, _ = _TYPE.unpack_from(self._types, position)
            if name_offset == needle and info >> 24 & 0x1F in (_STRUCT, _UNION):
                return position
        raise KeyError(name)

    def _resolve(self, type_id: int) -> tuple[int, int]:
        """Position and kind of a type behind its typedefs and qualifiers."""
        while True:
            position = self._positions[type_id]
            _, info, target = _TYPE.unpack_from(self._types, position) if position >= 0 else (0, 0, 0)
            kind = info >> 24 & 0x1F
            if kind not in _MODIFIERS:
                return position, kind
            type_id = target

    def _member(self, position: int, name: str) -> tuple[int, int] | None:
        """(bit offset, type id) of a member, looking into anonymous members too."""
        _, info, _ = _TYPE.unpack_from(self._types, position)
        for index in range(info & 0xFFFF):
            name_offset, type_id, offset = _MEMBER.unpack_from(self._types, position + 12 + 12 * index)
            offset = offset & 0xFFFFFF if info >> 31 else offset  # kind_flag: the top byte is a bit-field's size
            if self._name(name_offset) == name:
                return offset, type_id
            if name_offset == 0:
                inner, kind = self._resolve(type_id)
                found = self._member(inner, name) if kind in (_STRUCT, _UNION) else None
                if found:
                    return offset + found[0], found[1]
        return None

    def offset(self, structure: str, path: str) -> int:
        """Bytes from the start of `struct structure` to a member, as `bits`."""
        return self.bits(structure, path) // 8

    def bits(self, structure: str, path: str) -> int:
        """Bits from the start of `struct structure` to a member; `path` may be dotted (`__sk_common.skc_family`).

        Raises KeyError naming what this kernel does not have.
        """
        position, bits = self._structure(structure), 0
        for name in path.split("."):
            found = self._member(position, name)
            if found is None:
                raise KeyError(f"{structure}.{path}")
            bits += found[0]
            position = self._resolve(found[1])[0]
        return bits
