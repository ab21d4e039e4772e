"""Functions of known names, against binutils, in every kind of file that has them."""

import subprocess
from pathlib import Path

import pytest

from rover_bpf.symbols.elf import read_elf, to_offset
from rover_bpf.symbols.files import reader_of
from rover_bpf.symbols.lookup import find_functions

SOURCE = """
int wanted(void) { return 1; }
__attribute__((visibility("hidden"))) int un_wanted(void) { return 2; }
int variable;
int elsewhere(void);
int main(void) { return wanted() + un_wanted() + LOCAL(); }
"""
NAMES = ("wanted", "un_wanted", "inside", "variable", "puts", "nowhere")


def found_in(path: Path) -> dict[str, int]:
    read = reader_of(path.read_bytes())
    return dict(find_functions(read, read_elf(read), NAMES))


def named_by_nm(path: Path, *options: str) -> dict[str, int]:
    """Offsets of the functions that nm shows as defined."""
    elf = read_elf(reader_of(path.read_bytes()))
    lines = subprocess.run(["nm", *options, path], capture_output=True, text=True, check=True).stdout.splitlines()
    words = [line.split() for line in lines]
    offsets = {each[2]: to_offset(elf.segments, int(each[0], 16)) for each in words if each[1:2] in (["T"], ["t"])}
    return {name: offset for name, offset in offsets.items() if name in NAMES and offset is not None}


@pytest.mark.parametrize("flags", [["-static"], ["-fPIE", "-pie"], ["-no-pie", "-Wl,-z,noseparate-code"]], ids=str)
def test_functions_are_where_nm_says(tmp_path: Path, flags: list[str]) -> None:
    """Broken: a probe is put into another function, or a name that shares its end with another is missed."""
    source = tmp_path / "some.c"
    text = SOURCE.replace("LOCAL()", "inside()").replace(
        "int variable;", "static __attribute__((noinline)) int inside(void) { return 3; }\nint variable;"
    )
    source.write_text(text)
    program = tmp_path / "some"
    subprocess.run(["gcc", "-O0", *flags, "-o", program, source], check=True)
    expected = named_by_nm(program)
    assert expected.keys() >= {"wanted", "un_wanted", "inside"}
    found = found_in(program)
    assert {name: found.get(name) for name in ("wanted", "un_wanted", "inside")} == {
        name: expected[name] for name in ("wanted", "un_wanted", "inside")
    }
    assert "variable" not in found
    assert "nowhere" not in found
    subprocess.run(["strip", program], check=True)
    assert not found_in(program)


def test_exported_functions_are_found_though_stripped(tmp_path: Path) -> None:
    """Broken: a distribution's libraries, which have .dynsym alone, are not probed; or what is imported is."""
    source, library = tmp_path / "some.c", tmp_path / "some.so"
    source.write_text('#include <stdio.h>\nint wanted(void) { return puts("x"); }\n')
    subprocess.run(["gcc", "-shared", "-fPIC", "-s", "-o", library, source], check=True)
    assert found_in(library) == named_by_nm(library, "-D")
    assert found_in(library).keys() == {"wanted"}
