"""Real files of each kind, mutated where their readers look: never a crash, nor more time or memory than allowed."""

import lzma
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from time import process_time

import pytest
from elf_files import without_sections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rover_bpf.symbols.debugfiles import NOWHERE, Around
from rover_bpf.symbols.elf import ElfError, named_sections, read_elf
from rover_bpf.symbols.files import reader_of
from rover_bpf.symbols.sources import read_symbols

LIMIT = 1 << 20
EXTREMES = st.sampled_from([b"\xff" * 8, b"\0" * 8, b"\xff\xff\xff\x7f", b"\1", b"\0\0\0\x80"])
FUZZ = settings(max_examples=150, deadline=None)
# These write a file for each example.
FUZZ_FILES = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def survives(image: bytes, around: Around = NOWHERE) -> None:
    read, begun = reader_of(image), process_time()
    try:
        found = read_symbols(read, read_elf(read), LIMIT, around)
    except ElfError:
        return
    assert found.table.nbytes <= LIMIT + (1 << 18)
    assert bool(len(found.table)) or found.reason
    for address in (0, 0x1000, 0x401000, 2**63, 2**64 - 1):
        found.table.find(address)
    assert process_time() - begun < 5


def mutated(data: st.DataObject, original: bytes, places: list[tuple[int, int]]) -> bytes:
    image = bytearray(original)
    for _ in range(data.draw(st.integers(1, 6))):
        begin, end = data.draw(st.sampled_from(places))
        at = data.draw(st.integers(begin, max(end - 8, begin)))
        value = data.draw(EXTREMES | st.binary(min_size=1, max_size=8))
        image[at : at + len(value)] = value
    return bytes(image[: data.draw(st.just(len(image)) | st.integers(0, len(image)))])


def section_at(image: bytes, name: bytes) -> tuple[int, int]:
    read = reader_of(image)
    section = next(section for found, section in named_sections(read, read_elf(read)) if found == name)
    return int(section["offset"]), int(section["offset"] + section["size"])


@pytest.fixture(scope="module")
def program(compiled: Callable[..., Path]) -> Path:
    return compiled("fuzzed", "-rdynamic", "-pie", "-fPIE", "-Wl,--hash-style=both")


@pytest.fixture(scope="module")
def bare(program: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return without_sections(program, tmp_path_factory.mktemp("bare") / "bare").read_bytes()


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    compiler = shutil.which("go") or pytest.skip("no go here")
    directory = tmp_path_factory.mktemp("go")
    (directory / "m.go").write_text("package main\nfunc main() { println(1) }\n")
    subprocess.run([compiler, "build", "-ldflags=-s", "-o", "m", "m.go"], cwd=directory, check=True)
    return (directory / "m").read_bytes()


@pytest.fixture(scope="module")
def mini(program: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    directory = tmp_path_factory.mktemp("mini")
    (directory / "xz").write_bytes(lzma.compress(program.read_bytes()))
    add = f"--add-section=.gnu_debugdata={directory / 'xz'}"
    subprocess.run(["objcopy", "-S", add, program, directory / "mini"], check=True)
    return (directory / "mini").read_bytes()


@FUZZ
@given(data=st.data())
def test_dynamic_tables_and_hashes(data: st.DataObject, bare: bytes, program: Path) -> None:
    """Broken: a file without section headers sends the profiler round a chain for ever."""
    image = program.read_bytes()
    names = (b".dynamic", b".hash", b".gnu.hash", b".dynsym", b".dynstr")
    survives(mutated(data, bare, [(0, 64 + 13 * 56), *(section_at(image, name) for name in names)]))


@FUZZ
@given(data=st.data())
def test_tables_of_go(data: st.DataObject, go: bytes) -> None:
    """Broken: an offset out of a stranger's table ends the profiler, or makes it read for ever."""
    begin, end = section_at(go, b".gopclntab")
    survives(
        mutated(data, go, [(begin, begin + 72), (begin + 72, end), (0, 64 + 56 * 8), section_at(go, b".go.module")])
    )


@FUZZ
@given(data=st.data())
def test_mini_debug_info(data: st.DataObject, mini: bytes) -> None:
    """Broken: damaged compressed data end the profiler."""
    survives(mutated(data, mini, [section_at(mini, b".gnu_debugdata"), (0, 64)]))


@FUZZ_FILES
@given(data=st.data())
def test_mini_debug_info_that_is_well_compressed(data: st.DataObject, program: Path, tmp_path: Path) -> None:
    """Broken: as above, one layer further in, where no checksum helps."""
    inner = program.read_bytes()
    places = [(0, 64 + 13 * 56), (int.from_bytes(inner[40:48], "little"), len(inner)), section_at(inner, b".symtab")]
    (tmp_path / "xz").write_bytes(lzma.compress(mutated(data, inner, places), preset=0))
    add = f"--add-section=.gnu_debugdata={tmp_path / 'xz'}"
    subprocess.run(["objcopy", "-S", add, program, tmp_path / "mini"], check=True)
    survives((tmp_path / "mini").read_bytes())


@FUZZ_FILES
@given(data=st.data())
def test_debug_files(data: st.DataObject, program: Path, tmp_path: Path) -> None:
    """Broken: a container's debug file does what its program could not."""
    stripped, inner = tmp_path / "stripped", program.read_bytes()
    subprocess.run(["objcopy", "-S", program, stripped], check=True)
    build_id = read_elf(reader_of(inner)).build_id
    place = tmp_path / "usr/lib/debug/.build-id" / build_id[:2] / f"{build_id[2:]}.debug"
    place.parent.mkdir(parents=True, exist_ok=True)
    places = [(16, 64), (64, 64 + 13 * 56), (int.from_bytes(inner[40:48], "little"), len(inner))]
    place.write_bytes(mutated(data, inner, [*places, section_at(inner, b".symtab"), section_at(inner, b".strtab")]))
    survives(stripped.read_bytes(), Around("/stripped", (tmp_path,)))


def test_a_megabyte_of_go_headers_is_not_tried_for_ever(bare: bytes) -> None:
    """Broken: a search for Go's table takes hours in a file made of nothing but its first words."""
    head = struct.pack("<IBBBB", 0xFFFFFFF1, 0, 0, 1, 8) * (1 << 18)
    image = bytearray(bare)
    segment = next(at for at in range(64, 64 + 13 * 56, 56) if image[at : at + 8] == struct.pack("<II", 1, 6))
    image[segment + 8 : segment + 16] = len(image).to_bytes(8, "little")
    image[segment + 32 : segment + 40] = len(head).to_bytes(8, "little")
    survives(bytes(image) + head)
