"""Files that have lost more than their symbols, and files in unusual places."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from elf_files import without_sections

from rover_bpf.symbols import Symbolizer
from rover_bpf.symbols.elf import read_elf
from rover_bpf.symbols.files import reader_of
from rover_bpf.symbols.sources import read_symbols
from rover_core.model import Frame

Compiled = Callable[..., Path]
Run = Callable[..., Any]
LIBRARY = "int library_function(int x) { return x * 7; }\n"


@pytest.mark.parametrize("style", ["sysv", "gnu", "both"])
def test_exports_are_found_without_section_headers(style: str, compiled: Compiled, tmp_path: Path) -> None:
    """Broken: what was made small by force has no names at all, not even those that the linker needs."""
    source = "".join(f"int function_{n}(int x) {{ return x * {n}; }}\n" for n in range(300))
    library = compiled(f"{style}.so", "-shared", "-fPIC", "-s", f"-Wl,--hash-style={style}", source=source)
    read = reader_of(without_sections(library, tmp_path / "bare.so").read_bytes())
    found = read_symbols(read, read_elf(read), 1 << 20)
    listed = subprocess.run(["nm", "-D", str(library)], capture_output=True, text=True, check=True).stdout
    exported = [line.split() for line in listed.splitlines() if " T function_" in line]
    assert len(exported) == 300
    for address, _, name in exported:
        assert found.table.find(int(address, 16)) == (name, int(address, 16))
    assert [origin.name for origin in found.origins] == [".dynsym"]


def test_one_file_mapped_several_times_is_named_in_each(
    compiled: Compiled, run: Run, symbolizer: Symbolizer, tmp_path: Path
) -> None:
    """Broken: a copy of the code (huge pages, a loader of its own) has no names, or wrong ones."""
    source = r"""
    #include <fcntl.h>
    #include <stdio.h>
    #include <sys/mman.h>
    int main(int argc, char **argv) {
        int file = open(argv[1], O_RDONLY);
        printf("one %p\n", mmap(0, 8192, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0));
        printf("two %p\n", mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 4096));
        printf("ready 0\n");
        fflush(stdout);
        return getchar();
    }
    """
    library = compiled("twice.so", "-shared", "-fPIC", source=LIBRARY)
    program = run(compiled("twice", source=source), library)
    symbolizer.observe(program.key)
    listed = subprocess.run(["readelf", "--wide", "-s", library], capture_output=True, text=True, check=True).stdout
    start = next(int(line.split()[1], 16) for line in listed.splitlines() if line.endswith("library_function"))
    assert 4096 <= start < 8192
    for at in (program.addresses["one"] + start, program.addresses["two"] + start - 4096):
        (frame,) = symbolizer.user(program.key, [at])
        assert frame == Frame("library_function", "twice.so", 0)
    assert symbolizer.stats.tables == 1


def test_a_library_linked_at_a_place_of_its_own_is_named(
    compiled: Compiled, run: Run, symbolizer: Symbolizer
) -> None:
    """Broken: prelinked libraries, whose own addresses do not begin at 0, are named wrongly."""
    library = compiled("prelinked.so", "-shared", "-fPIC", "-Wl,-Ttext-segment=0x3a000000", source=LIBRARY)
    program = run(compiled("dlopener", "-DWITH_DLOPEN", "-ldl"))
    program.say(str(library))
    symbolizer.observe(program.key)
    (frame,) = symbolizer.user(program.key, [program.addresses["library_function"]])
    assert frame == Frame("library_function", "prelinked.so", 0)
