import ctypes
import io
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from rover_bpf.symbols import Symbolizer
from rover_bpf.symbols.maps import parse_maps
from rover_bpf.symbols.vdso import read_vdso
from rover_core.model import ProcessKey


def own_mapping() -> tuple[int, int]:
    mappings = parse_maps(Path("/proc/self/maps").read_bytes())
    vdso = next((m for m in mappings if m.path == "[vdso]"), None)
    if vdso is None:
        pytest.skip("no vdso here")
    return vdso.start, vdso.end


def test_the_image_is_what_lies_in_memory() -> None:
    start, end = own_mapping()
    assert read_vdso() == ctypes.string_at(start, end - start)


def test_every_function_of_it_is_named() -> None:
    """clock_gettime is where a busy program's time stamps are taken: `[vdso]+0xb40` would tell nobody."""
    start, end = own_mapping()
    listed: dict[int, set[str]] = {}
    image: Any = ELFFile(io.BytesIO(ctypes.string_at(start, end - start)))
    for symbol in image.get_section_by_name(".dynsym").iter_symbols():
        if symbol["st_info"]["type"] == "STT_FUNC":
            listed.setdefault(symbol["st_value"], set()).add(symbol.name)
    assert "__vdso_clock_gettime" in set.union(*listed.values())
    stat = Path("/proc/self/stat").read_text()
    own = ProcessKey(int(stat.split()[0]), int(stat.rpartition(")")[2].split()[19]))
    symbolizer = Symbolizer()
    symbolizer.observe(own)
    for value, names in listed.items():
        (frame,) = symbolizer.user(own, [start + value])
        assert frame.symbol in names
        assert (frame.module, frame.offset) == ("[vdso]", 0)
