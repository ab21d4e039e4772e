"""Symbol tables against binutils and pyelftools, and against files made to do harm."""

import shutil
import subprocess
import sysconfig
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st

from rover_bpf.symbols.elf import Elf, ElfError, Segment, read_elf, to_vaddr
from rover_bpf.symbols.files import reader_of
from rover_bpf.symbols.sources import read_symbols
from rover_bpf.symbols.table import SymbolTable

LIMIT = 64 << 20
FLAGS = {
    "pie": ("-pie", "-fPIE"),
    "no-pie": ("-no-pie",),
    "static": ("-static",),
    "packed": ("-Wl,-z,noseparate-code",),
    "stripped": ("-s", "-rdynamic"),
}


def load(path: Path) -> tuple[Elf, SymbolTable]:
    read = reader_of(path.read_bytes())
    elf = read_elf(read)
    return elf, read_symbols(read, elf, LIMIT).table


def listed_by_readelf(path: Path) -> dict[tuple[int, int], set[str]]:
    """Names of the functions by (address, size), from both symbol tables."""
    command = ["readelf", "--symbols", "--wide", str(path)]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[tuple[int, int], set[str]] = {}
    for fields in map(str.split, listed.splitlines()):
        if len(fields) > 7 and fields[3] in ("FUNC", "IFUNC") and fields[6].isdigit():
            found.setdefault((int(fields[1], 16), int(fields[2], 0)), set()).add(fields[7].partition("@")[0])
    return found


@pytest.mark.parametrize("kind", FLAGS)
def test_every_function_that_readelf_lists_is_found_at_its_address(kind: str, compiled: Callable[..., Path]) -> None:
    path = compiled(kind, *FLAGS[kind])
    _, symbols = load(path)
    listed = listed_by_readelf(path)
    assert "exported_function" in set.union(*listed.values())
    at: dict[int, set[str]] = {}
    for (address, _), names in listed.items():
        at.setdefault(address, set()).update(names)
    for address, names in at.items():
        found = symbols.find(address)
        assert found is not None
        assert found[0] in names
        assert found[1] == address


@pytest.mark.parametrize("library", ["libc.so.6", "libstdc++.so.6", "libpython3.11.so.1.0"])
def test_sizes_agree_with_readelf(library: str) -> None:
    """One byte before a function's end is still the function; its end is not."""
    path = Path("/usr/lib") / (sysconfig.get_config_var("MULTIARCH") or "") / library
    if not path.exists():
        pytest.skip(f"no {library} here")
    _, symbols = load(path)
    functions = [place for place in listed_by_readelf(path) if place[1]]
    assert len(functions) > 500
    unique = Counter(start for start, _ in functions)
    for start, size in functions:
        last, beyond = symbols.find(start + size - 1), symbols.find(start + size)
        assert last is not None
        assert last[1] >= start
        assert beyond is None or beyond[1] != start or unique[start] > 1


def test_build_id_and_segments_agree_with_pyelftools(compiled: Callable[..., Path]) -> None:
    path = compiled("pie", *FLAGS["pie"])
    elf, _ = load(path)
    with path.open("rb") as stream:
        other = ELFFile(stream)
        note: Any = other.get_section_by_name(".note.gnu.build-id")
        assert elf.build_id == next(note.iter_notes())["n_desc"]
        loads = {(s["p_offset"], s["p_filesz"], s["p_vaddr"]) for s in other.iter_segments("PT_LOAD")}
    assert {(s.offset, s.size, s.vaddr) for s in elf.segments} == loads
    assert len(elf.build_id) == 40


def test_a_32_bit_big_endian_file_is_read_with_its_own_layout() -> None:
    """One function of 4 bytes in the smallest file that has one: a wrong layout would lose or misplace it."""
    names = b"\0f\0"
    code, symtab, strtab, shoff = 0x40, 0x44, 0x64, 0x68
    symbols = bytes(16) + b"".join(n.to_bytes(4, "big") for n in (1, 0x1040, 4)) + bytes([0x12, 0, 0, 1])
    sections = [
        (0,) * 10,
        (0, 1, 6, 0x1040, code, 4, 0, 0, 4, 0),
        (0, 2, 0, 0, symtab, 32, 3, 1, 4, 16),
        (0, 3, 0, 0, strtab, len(names), 0, 0, 1, 0),
    ]
    header = (
        b"\x7fELF\x01\x02\x01".ljust(16, b"\0")
        + b"\0\2\0\x08"
        + b"".join(n.to_bytes(4, "big") for n in (1, 0x1040, 0, shoff, 0))
    )
    header += b"".join(n.to_bytes(2, "big") for n in (52, 32, 0, 40, len(sections), 3))
    image = header.ljust(code, b"\0") + b"code" + symbols + names.ljust(4, b"\0")
    image += b"".join(n.to_bytes(4, "big") for section in sections for n in section)
    read = reader_of(image)
    assert read_symbols(read, read_elf(read), LIMIT).table.find(0x1043) == ("f", 0x1040)


def test_addresses_go_through_the_segment_that_shows_them() -> None:
    """Segments of one file differ in vaddr - offset (lld, -z separate-code): one difference for all misplaces."""
    segments = (Segment(0x1040, 0x500, 0x2040, True), Segment(0x1540, 0x100, 0x3540, True), Segment(0, 64, 0, False))
    assert to_vaddr(segments, 0x1100) == 0x2100
    assert to_vaddr(segments, 0x1540) == 0x3540
    assert to_vaddr(segments, 0x1000) == 0x2000
    assert to_vaddr(segments, 0x9000) == 0x9000


def test_data_is_not_taken_for_a_function(compiled: Callable[..., Path]) -> None:
    path = compiled("pie", *FLAGS["pie"])
    _, symbols = load(path)
    listed = subprocess.run(["nm", str(path)], capture_output=True, text=True, check=True).stdout
    data = next(int(line.split()[0], 16) for line in listed.splitlines() if line.endswith("data_not_function"))
    assert symbols.find(data) is None


def test_tables_beyond_the_limit_are_refused_not_built(compiled: Callable[..., Path]) -> None:
    read = reader_of(compiled("static", *FLAGS["static"]).read_bytes())
    refused = read_symbols(read, read_elf(read), 512)
    assert len(refused.table) == 0
    assert refused.reason == "its functions take more than 512 bytes"


def test_tables_somewhat_beyond_the_limit_keep_the_global_functions(compiled: Callable[..., Path]) -> None:
    """Broken: a program a little too large for the budget has no names at all, or silently too few."""
    read = reader_of(compiled("static", *FLAGS["static"]).read_bytes())
    whole = read_symbols(read, read_elf(read), LIMIT)
    cut = read_symbols(read, read_elf(read), whole.table.nbytes - 2000)
    assert 0 < len(cut.table) < len(whole.table)
    assert cut.reason.startswith("only global functions are named")
    hidden, exported = (
        next(start for (start, _), names in listed_by_readelf(compiled("static")).items() if name in names)
        for name in ("hidden_function", "exported_function")
    )
    assert cut.table.find(exported) == ("exported_function", exported)
    assert cut.table.find(hidden) is None


def test_a_table_is_nothing_but_flat_arrays(compiled: Callable[..., Path]) -> None:
    """12 bytes and a name each: lists of str would take ten times that."""
    _, symbols = load(compiled("static", *FLAGS["static"]))
    assert [column.itemsize for column in (symbols.starts, symbols.sizes, symbols.names)] == [4, 4, 4]
    assert symbols.nbytes == 12 * len(symbols) + len(symbols.blob)
    assert bool(np.all(np.diff(symbols.starts) > 0))


def survives(image: bytes) -> None:
    read = reader_of(image)
    try:
        elf = read_elf(read)
        symbols = read_symbols(read, elf, 1 << 20).table
    except ElfError:
        return
    assert symbols.nbytes <= 1 << 21
    for address in (0, 0x1000, 0x401000, 2**63, 2**64 - 1):
        symbols.find(to_vaddr(elf.segments, address) & (2**64 - 1))


@pytest.fixture(scope="module")
def small(compiled: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return compiled("pie", *FLAGS["pie"]).read_bytes()


@pytest.fixture(scope="module")
def headers(small: bytes) -> list[tuple[int, int]]:
    """Where headers and symbols lie in the file: mutating code or data would test nothing."""
    sections = int.from_bytes(small[40:48], "little")
    elf = read_elf(reader_of(small))
    tables = elf.sections[np.isin(elf.sections["type"], (2, 3, 7, 11))]
    places = [(int(table["offset"]), int(table["offset"] + table["size"])) for table in tables]
    return [(0, 64 + 13 * 56), (sections, len(small)), *places]


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_mutated_files_neither_crash_nor_grow(
    data: st.DataObject, small: bytes, headers: list[tuple[int, int]]
) -> None:
    image = bytearray(small)
    for _ in range(data.draw(st.integers(1, 6))):
        begin, end = data.draw(st.sampled_from(headers))
        at = data.draw(st.integers(begin, end - 8))
        extremes = st.sampled_from([b"\xff" * 8, b"\0" * 8, b"\xff\xff\xff\x7f"])
        value = data.draw(extremes | st.binary(min_size=1, max_size=8))
        image[at : at + len(value)] = value
    survives(bytes(image))


@settings(max_examples=100, deadline=None)
@given(cut=st.integers(0, 20_000))
def test_truncated_files_do_not_crash(cut: int, small: bytes) -> None:
    survives(small[:cut])


@given(st.binary(max_size=300))
def test_junk_is_no_elf_file(junk: bytes) -> None:
    survives(junk)
    survives(b"\x7fELF\x02\x01\x01" + junk)


def test_nodes_functions_are_indexed_in_time() -> None:
    """86 000 functions take 53 ms on a quiet machine; a loop in Python would take a second."""
    node = shutil.which("node")
    if not node or b"not stripped" not in subprocess.run(["file", "-L", node], capture_output=True).stdout:
        pytest.skip("no node with symbols here")
    path = Path(node).resolve()
    content = reader_of(path.read_bytes())
    elf = read_elf(content)
    begun = process_time()
    symbols = read_symbols(content, elf, 16 << 20).table
    assert process_time() - begun < 0.5
    assert len(symbols) > 50_000
