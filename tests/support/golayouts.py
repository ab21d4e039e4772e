"""Where a Go program has the members that rover/go.h reads, by its own debug information (DWARF)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

ALL = {
    "crypto/tls.Conn.conn": 0,
    "crypto/tls.Conn.isClient": 16,
    "net.TCPConn.conn": 0,
    "net.UnixConn.conn": 0,
    "net.conn.fd": 0,
    "net.netFD.pfd": 0,
    "net.netFD.family": 56,
    "net.netFD.sotype": 64,
    "internal/poll.FD.Sysfd": 16,
    "runtime.iface.data": 8,
    "runtime.g.stack": 0,
    "runtime.stack.lo": 0,
    "runtime.stack.hi": 8,
}
"""As in every release from Go 1.17 to 1.26, in bytes."""


def layout_of(program: Path) -> dict[str, int]:
    """The offsets of the members that ALL names; those that it does not know are left out."""
    types = {name.rpartition(".")[0] for name in ALL}
    packages = {name.rpartition(".")[0] for name in types}
    found: dict[str, int] = {}
    with program.open("rb") as file:
        for unit in ELFFile(file).get_dwarf_info().iter_CUs():
            top = unit.get_top_DIE()
            for entry in top.iter_children() if _name(top) in packages else ():
                if entry.tag == "DW_TAG_structure_type" and _name(entry) in types:
                    found.update(_members(entry))
    return {name: offset for name, offset in found.items() if name in ALL}


def _members(structure: Any) -> Iterator[tuple[str, int]]:
    for member in structure.iter_children():
        if "DW_AT_data_member_location" in member.attributes:
            yield f"{_name(structure)}.{_name(member)}", member.attributes["DW_AT_data_member_location"].value


def _name(entry: Any) -> str:
    attribute = entry.attributes.get("DW_AT_name")
    return attribute.value.decode() if attribute else ""
