"""Every row of real files as readelf shows it."""

import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rover_bpf.symbols.cache import TableCache
from rover_bpf.symbols.elf import read_elf
from rover_bpf.symbols.files import reader_of
from rover_bpf.symbols.vdso import read_vdso
from rover_bpf.unwind.cfa import How, Row
from rover_bpf.unwind.cursor import Budget, CfiError
from rover_bpf.unwind.table import Tables, UnwindTable, read_table

LIMIT = 8 << 20
NAMES = ("rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", *(f"r{n}" for n in range(8, 16)), "ra")
NUMBERS = {name: number for number, name in enumerate(NAMES)}
LIBRARIES = Path("/usr/lib") / (sysconfig.get_config_var("MULTIARCH") or "")


def load(path: Path) -> UnwindTable:
    read = reader_of(path.read_bytes())
    return read_table(read, read_elf(read), LIMIT)


def listed(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Each address where a row begins, and the row: column to what readelf has there."""
    command = ["readelf", "--debug-dump=frames-interp", str(path)]
    # Its exit status is 1 where a separate debug file is named that is not there.
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    columns: list[str] = []
    inside, rows = False, dict[int, dict[str, str]]()
    for fields in map(str.split, shown.splitlines()):
        if "FDE" in fields or "CIE" in fields or not fields:
            inside = "FDE" in fields or (inside and not fields)
        elif fields[0] == "LOC":
            columns = fields[1:]
        elif inside and len(fields) == len(columns) + 1 and len(fields[0]) == 16:
            rows[int(fields[0], 16)] = dict(zip(columns, fields[1:], strict=True))
    yield from rows.items()


def shown(row: Row, columns: list[str]) -> dict[str, str]:
    """Our row as readelf writes it."""
    cfa = "exp" if isinstance(row.cfa, bytes) else f"{NAMES[row.cfa[0]]}+{row.cfa[1]}"
    places = {NAMES[number]: (how, operand) for number, how, operand in row.saved if number < len(NAMES)}
    return {"CFA": cfa} | {name: _shown(*places.get(name, (How.UNDEFINED, 0))) for name in columns if name != "CFA"}


def _shown(how: How, operand: int | bytes) -> str:
    if isinstance(operand, bytes):
        return "exp" if how is How.EXPRESSION else "vexp"
    return {How.UNDEFINED: "u", How.SAME: "s", How.OFFSET: f"c{operand:+}", How.VAL_OFFSET: f"v{operand:+}"}[how]


@pytest.mark.parametrize("name", ["libc.so.6", "libgcc_s.so.1", "libm.so.6", "ld-linux-x86-64.so.2"])
def test_every_row_is_readelfs(name: str) -> None:
    path = LIBRARIES / name
    if not path.exists():
        pytest.skip(f"no {name} here")
    table, count = load(path), 0
    for address, theirs in listed(path):
        row = table.row(address, Budget(1 << 13))
        assert row is not None
        assert shown(row, list(theirs)) == theirs, hex(address)
        count += 1
    assert count > 500


@pytest.mark.parametrize("linked", ["-static", "-no-pie", "-Wl,--no-eh-frame-hdr"])
def test_with_and_without_a_header_table(linked: str, built: Callable[..., Path]) -> None:
    path = built("shapes.c", linked)
    table = load(path)
    assert table.index
    assert all(
        shown(row, list(theirs)) == theirs
        for address, theirs in listed(path)
        if (row := table.row(address, Budget(1 << 13)))
    )
    assert any(table.row(address, Budget(1 << 13)) for address, _ in listed(path))


@pytest.mark.parametrize("mode", ["exe", "pie"])
def test_gos_own_table_says_what_its_debug_information_says(mode: str, built: Callable[..., Path]) -> None:
    """Both are of the same linker, but only the former is still there in stripped programs."""
    path = built("shapes.go", f"-buildmode={mode}")
    table, same = load(path), 0
    assert table.index is None
    for address, theirs in listed(path):
        try:
            row = table.row(address, Budget(1 << 13))
        except CfiError:
            continue  # a function that begins on another's stack
        assert row is not None
        if row.cfa[0] == NUMBERS["rsp"] and ("ra", "u") not in shown(row, ["ra"]).items():
            assert shown(row, ["CFA", "ra"]) == {"CFA": theirs["CFA"], "ra": "c-8"}, hex(address)
            same += 1
    assert same > 0.98 * len(list(listed(path))) > 5000


def test_the_vdso_has_rows() -> None:
    read = reader_of(read_vdso())
    table = read_table(read, read_elf(read), LIMIT)
    assert table.index
    first = int(table.index.starts[0]) + table.index.base
    assert table.row(first, Budget(100))


def test_what_keeps_frame_pointers_is_told_from_what_does_not(built: Callable[..., Path]) -> None:
    kept = built("shapes.cpp", "-fno-omit-frame-pointer", "-O1")
    lost = built("shapes.cpp", "-fomit-frame-pointer", "-O1")
    assert load(kept).keeps_frame_pointers
    assert not load(lost).keeps_frame_pointers
    assert not load(LIBRARIES / "libc.so.6").keeps_frame_pointers


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not an ELF file"),
        (b"\x7fELF\x01\x01\x01".ljust(16, b"\0") + b"\2\0\3\0".ljust(64, b"\0"), "another processor"),
        (b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + b"\2\0\x3e\0".ljust(64, b"\0"), "no .eh_frame"),
    ],
)
def test_a_file_without_tables_says_why(content: bytes, reason: str, tmp_path: Path) -> None:

    file = tmp_path / "file"
    file.write_bytes(content)
    with file.open("rb") as stream:
        _, table = Tables(TableCache(LIMIT)).load(stream.fileno())
    assert reason in table.reason
    assert table.row(0x1000, Budget(10)) is None
