"""Go's table of functions against `go tool nm`, with the layouts of old compilers made by hand."""

import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elf_files import without_sections

from rover_bpf.symbols import Symbolizer
from rover_bpf.symbols.elf import read_elf
from rover_bpf.symbols.files import reader_of
from rover_bpf.symbols.gopclntab import GoError, read_functions, read_layout
from rover_bpf.symbols.goprogram import find_go_functions, go_release, read_go_version
from rover_bpf.symbols.sources import Symbols, read_symbols

Run = Callable[..., Any]

GO = """
package main
import ("bufio"; "fmt"; "os"; "reflect")
//go:noinline
func sqrtGolang(n int) int { return n * 3 }
func main() {
    fmt.Printf("sqrt %#x\\nready 0\\n", reflect.ValueOf(sqrtGolang).Pointer())
    bufio.NewReader(os.Stdin).ReadString('\\n')
}
"""
WITH_C = GO.replace("package main\n", 'package main\n// static int three(void) { return 3; }\nimport "C"\n').replace(
    "n * 3", "n * int(C.three())"
)
KINDS = {"exe": ("exe", GO), "pie": ("pie", GO), "c": ("exe", WITH_C), "c-pie": ("pie", WITH_C)}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """built(kind): a Go program with its symbols."""
    directory = tmp_path_factory.mktemp("go")
    go = shutil.which("go") or pytest.skip("no go here")
    if not os.access(Path.home(), os.W_OK):
        pytest.skip("no home to keep the compiled standard library in")

    def build(kind: str) -> Path:
        mode, source = KINDS[kind]
        output = directory / kind
        if not output.exists():
            (directory / f"{kind}.go").write_text(source)
            command = [go, "build", f"-buildmode={mode}", "-o", str(output), str(directory / f"{kind}.go")]
            subprocess.run(command, check=True, capture_output=True, cwd=directory)
        return output

    return build


def stripped(program: Path, tmp_path: Path) -> Path:
    subprocess.run(["strip", "-o", tmp_path / "stripped", program], check=True)
    return tmp_path / "stripped"


def read_file(path: Path) -> Symbols:
    read = reader_of(path.read_bytes())
    return read_symbols(read, read_elf(read), 16 << 20)


@pytest.mark.parametrize("bare", [False, True], ids=["stripped", "without sections"])
@pytest.mark.parametrize("kind", KINDS)
def test_functions_of_stripped_go_programs(
    kind: str, bare: bool, built: Callable[[str], Path], tmp_path: Path
) -> None:
    """Broken: Go services, which are usually built with -s, have no names."""
    program = built(kind)
    path = stripped(program, tmp_path)
    found = read_file(without_sections(path, tmp_path / "bare") if bare else path)
    assert found.origins[0].name == ".gopclntab"
    listed = subprocess.run(["go", "tool", "nm", program], capture_output=True, text=True, check=True).stdout
    lines = [line.split(None, 2) for line in listed.splitlines()]
    # nm adds the calling convention of assembly code, and two marks that are no functions.
    functions = {
        line[2].removesuffix(".abi0"): int(line[0], 16) for line in lines if len(line) == 3 and line[1] in "tT"
    }
    packages = ("main.", "fmt.", "bufio.", "os.", "runtime.")
    marks = ("runtime.text", "runtime.etext")
    wanted = {name: at for name, at in functions.items() if name.startswith(packages) and name not in marks}
    assert len(wanted) > 500
    assert "main.sqrtGolang" in wanted
    wrong = {name: found.table.find(at) for name, at in wanted.items() if found.table.find(at) != (name, at)}
    assert wrong == {}


def test_a_live_stripped_go_program(
    built: Callable[[str], Path], run: Run, symbolizer: Symbolizer, tmp_path: Path
) -> None:
    """Broken: the table is read, but its addresses are not those of the running program."""
    program = run(stripped(built("pie"), tmp_path))
    symbolizer.observe(program.key)
    assert symbolizer.user(program.key, [program.addresses["sqrt"]])[0].symbol == "main.sqrtGolang"


@pytest.mark.parametrize("bare", [False, True], ids=["stripped", "without sections"])
@pytest.mark.parametrize("kind", ["exe", "pie"])
def test_what_a_stripped_program_says_of_itself(
    kind: str, bare: bool, built: Callable[[str], Path], tmp_path: Path
) -> None:
    """Broken: it is not known which release built a program, or where its functions are, so it cannot be probed."""
    path = stripped(built(kind), tmp_path)
    content = (without_sections(path, tmp_path / "bare") if bare else path).read_bytes()
    read = reader_of(content)
    elf = read_elf(read)
    installed = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()
    assert read_go_version(read, elf) == installed
    assert go_release(installed) == int(installed.split(".")[1])
    listed = subprocess.run(["go", "tool", "nm", "-size", built(kind)], capture_output=True, text=True, check=True)
    lines = [line.split(None, 3) for line in listed.stdout.splitlines()]
    wanted = {line[3]: line for line in lines if len(line) == 4 and line[3] in ("main.main", "fmt.Fprintf")}
    found = find_go_functions(read, elf, ("main.main", "fmt.Fprintf", "main.mai", "no.such"))
    assert found.keys() == wanted.keys()
    for name, (start, end) in found.items():
        assert start == int(wanted[name][0], 16)
        assert 0 <= end - start - int(wanted[name][1]) < 64, "functions are padded"


def test_build_information_as_it_was_before_1_18() -> None:
    """Broken: a program of Go 1.16, whose functions are called in another way, is taken for one of 1.17."""
    head = b"\xff Go buildinf:" + bytes([8, 0]) + struct.pack("<2Q", 0x400040, 0)
    content = head + bytes(0x40 - len(head)) + struct.pack("<2Q", 0x400060, 9) + bytes(16) + b"go1.16.15 and more"
    elf = read_elf(reader_of(executable(content)))
    assert read_go_version(reader_of(executable(content)), elf) == "go1.16.15"
    for broken in (content[:40], content.replace(b"\x60\0\x40", b"\x60\0\x90"), content[:0x60]):
        elf = read_elf(reader_of(executable(broken)))
        assert read_go_version(reader_of(executable(broken)), elf) == ""


def executable(content: bytes) -> bytes:
    """An ELF file without sections, whose one segment is at 0x400000."""
    offset = 0x1000
    head = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    head += struct.pack("<IIQQQQQQ", 1, 6, offset, 0x400000, 0x400000, len(content), len(content), 0x1000)
    return head + bytes(offset - len(head)) + content


def old_table(go: int, width: int, order: str) -> bytes:
    """Two functions, 0x1000 main.first and 0x1040 main.second, to 0x1080, as Go 1.<go> wrote them."""
    word, names = {4: "I", 8: "Q"}[width], b"main.first\0main.second\0\0"
    magic = {2: 0xFFFFFFFB, 16: 0xFFFFFFFA, 18: 0xFFFFFFF0, 20: 0xFFFFFFF1}[go]
    head = struct.pack(f"{order}IBBBB", magic, 0, 0, 1, width)
    size = struct.calcsize(f"{order}{word}")
    if go == 2:
        records_at = 8 + 6 * size
        names_at = records_at + 2 * (size + 4)
        pairs = [0x1000, records_at, 0x1040, records_at + size + 4, 0x1080, 0]
        records = [struct.pack(f"{order}{word}i", pc, names_at + n) for pc, n in ((0x1000, 0), (0x1040, 11))]
        return head + struct.pack(f"{order}6{word}", 2, *pairs[:5]) + b"".join(records) + names
    fields = 7 if go == 16 else 8
    names_at = 8 + fields * size
    table_at = names_at + len(names)
    if go == 16:
        entry, numbers, starts = word, [2, 1, names_at, 0, 0, 0, table_at], (0x1000, 0x1040, 0x1080)
    else:
        entry, numbers, starts = "I", [2, 1, 0x1000, names_at, 0, 0, 0, table_at], (0, 0x40, 0x80)
    step = struct.calcsize(f"{order}{entry}")
    records_at = 5 * step
    pairs = [starts[0], records_at, starts[1], records_at + step + 4, starts[2]]
    records = [struct.pack(f"{order}{entry}i", starts[n], 11 * n) for n in (0, 1)]
    table = struct.pack(f"{order}5{entry}", *pairs) + b"".join(records)
    return head + struct.pack(f"{order}{fields}{word}", *numbers) + names + table + bytes(64)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("width", [4, 8])
@pytest.mark.parametrize("go", [2, 16, 18, 20])
def test_the_layouts_of_all_compilers(go: int, width: int, order: str) -> None:
    """Broken: programs built by an older Go, or for another processor, have no names or others'."""
    content = old_table(go, width, order)
    read = reader_of(content)
    layout = read_layout(read, order)
    starts, ends, names = read_functions(read, layout, layout.text)
    assert starts.tolist() == [0x1000, 0x1040]
    assert ends.tolist() == [0x1040, 0x1080]
    texts = [content[layout.names + n : content.index(0, layout.names + n)] for n in names.tolist()]
    assert texts == [b"main.first", b"main.second"]
    with pytest.raises(GoError):
        read_layout(read, "<" if order == ">" else ">")


def test_a_table_out_of_order_is_refused() -> None:
    """Broken: a search of the table finds anything."""
    content = bytearray(old_table(2, 8, "<"))
    content[16:24] = np.uint64(0x9000).tobytes()
    with pytest.raises(GoError, match="not in order"):
        read_functions(reader_of(content), read_layout(reader_of(content), "<"), 0)
