"""Mini debug info: the names that strip removed, as an ELF file of its own, compressed by xz in .gnu_debugdata.

Fedora and its kin ship it in every binary (GDB's manual, "MiniDebugInfo"): the functions that .dynsym does not have.
"""

import lzma

from rover_bpf.symbols.elf import Elf, ElfError, named_sections, read_elf
from rover_bpf.symbols.elfsymbols import add_symtab
from rover_bpf.symbols.files import Read, reader_of
from rover_bpf.symbols.functions import Functions

SECTION = ".gnu_debugdata"
# Of all of Fedora the largest have a few MB. What unpacks to more, or needs a larger dictionary, is made to do harm.
_MAX_PACKED = 16 << 20
_MAX_UNPACKED = 32 << 20
_MAX_XZ_MEMORY = 80 << 20  # xz -9 needs 65 MB


def add_minidebug(functions: Functions, read: Read, elf: Elf) -> str:
    """Add what the section names; returns why it could not be read, "" if it could or there is none."""
    section = next((section for name, section in named_sections(read, elf) if name == SECTION.encode()), None)
    if section is None:
        return ""
    try:
        inner = reader_of(_unpack(read(int(section["offset"]), min(int(section["size"]), _MAX_PACKED))))
        add_symtab(functions, SECTION, inner, read_elf(inner))
    except (lzma.LZMAError, EOFError, ElfError) as error:
        return f"its {SECTION} cannot be read: {error}"
    return ""


def _unpack(packed: bytes) -> bytes:
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_XZ_MEMORY)
    unpacked = decompressor.decompress(packed, _MAX_UNPACKED)
    if not decompressor.eof:
        raise EOFError(
            "it is cut off" if decompressor.needs_input else f"it unpacks to more than {_MAX_UNPACKED} bytes"
        )
    return unpacked
