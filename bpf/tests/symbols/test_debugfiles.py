"""Files that were stripped in each of the ways that distributions strip: their functions against nm's list."""

import lzma
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rover_bpf.symbols import Symbolizer
from rover_bpf.symbols.debugfiles import Around, read_debug_link
from rover_bpf.symbols.elf import read_elf
from rover_bpf.symbols.files import reader_of
from rover_bpf.symbols.sources import Symbols, read_symbols
from rover_core.model import Frame, ProcessKey

Compiled = Callable[..., Path]
Run = Callable[..., Any]
NameOf = Callable[[ProcessKey, int], Frame]

NO_BUILD_ID = "-Wl,--build-id=none"
LIMIT = 16 << 20
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs namespaces of its own")


def objcopy(*arguments: str | Path) -> None:
    subprocess.run(["objcopy", *map(str, arguments)], check=True)


def address_of(name: str, path: Path) -> int:
    listed = subprocess.run(["nm", str(path)], capture_output=True, text=True, check=True).stdout
    return next(int(line.split()[0], 16) for line in listed.splitlines() if line.endswith(f" {name}"))


def read_file(path: Path, root: Path) -> Symbols:
    read = reader_of(path.read_bytes())
    return read_symbols(read, read_elf(read), LIMIT, Around(f"/{path.relative_to(root)}", (root,)))


def split(program: Path, root: Path, link: str = "") -> tuple[Path, Path]:
    """(stripped, debug) of a program, below the root; the debug file is not yet where it is looked for."""
    root.mkdir(exist_ok=True)
    stripped, debug = root / "opt" / program.name, root / (link or f"{program.name}.debug")
    stripped.parent.mkdir(exist_ok=True)
    objcopy("--only-keep-debug", program, debug)
    objcopy("--strip-all", *([f"--add-gnu-debuglink={debug}"] if link else []), program, stripped)
    return stripped, debug


def put(debug: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(debug, place)


def by_build_id(program: Path, root: Path) -> Path:
    build_id = read_elf(reader_of(program.read_bytes())).build_id
    return root / "usr/lib/debug/.build-id" / build_id[:2] / f"{build_id[2:]}.debug"


def test_a_debug_file_is_found_by_build_id(compiled: Compiled, tmp_path: Path) -> None:
    """Broken: programs of Debian and Fedora show no local functions though their debug packages are installed."""
    program = compiled("pie", "-pie", "-fPIE")
    stripped, debug = split(program, tmp_path / "root")
    put(debug, by_build_id(program, tmp_path / "root"))
    found = read_file(stripped, tmp_path / "root")
    hidden = address_of("hidden_function", program)
    assert found.table.find(hidden) == ("hidden_function", hidden)
    assert found.origins[0].name == "/" + str(by_build_id(program, Path())).lstrip("/")
    assert found.reason == ""


@pytest.mark.parametrize("place", ["opt", "opt/.debug", "usr/lib/debug/opt"])
def test_a_debug_file_is_found_by_its_link(place: str, compiled: Compiled, tmp_path: Path) -> None:
    """Broken: programs that one builds and strips oneself, without build ids, have no names."""
    program = compiled("linked", NO_BUILD_ID)
    stripped, debug = split(program, tmp_path, "linked.dbg")
    put(debug, tmp_path / place / "linked.dbg")
    found = read_file(stripped, tmp_path)
    hidden = address_of("hidden_function", program)
    assert found.table.find(hidden) == ("hidden_function", hidden)


def test_a_debug_file_of_another_build_is_not_believed(compiled: Compiled, tmp_path: Path) -> None:
    """Broken: after an upgrade, functions go by the names of what was at their place in the version before."""
    program = compiled("linked", NO_BUILD_ID)
    stripped, debug = split(program, tmp_path, "linked.dbg")
    with debug.open("ab") as file:
        file.write(b"!")
    put(debug, tmp_path / "opt" / "linked.dbg")
    assert read_file(stripped, tmp_path).table.find(address_of("hidden_function", program)) is None
    other = compiled("pie", "-pie", "-fPIE")
    stripped, _ = split(other, tmp_path)
    put(Path(shutil.copy(compiled("no-pie", "-no-pie"), tmp_path)), by_build_id(other, tmp_path))
    assert read_file(stripped, tmp_path).table.find(address_of("hidden_function", other)) is None


@pytest.mark.parametrize("name", ["../escape", "..", ""])
def test_a_link_leads_to_no_other_directory(name: str, compiled: Compiled, tmp_path: Path) -> None:
    """Broken: a stranger's file chooses which files a privileged profiler opens."""
    (tmp_path / "link").write_bytes((name.encode() + b"\0").ljust(12, b"\0") + b"\1\2\3\4")
    stripped = tmp_path / "program"
    objcopy("--strip-all", f"--add-section=.gnu_debuglink={tmp_path / 'link'}", compiled("pie"), stripped)
    read = reader_of(stripped.read_bytes())
    assert read_debug_link(read, read_elf(read)) is None


def test_names_of_a_prelinked_library_are_moved_with_it(compiled: Compiled, tmp_path: Path) -> None:
    """Broken: where prelink has moved a library, its debug file names the wrong functions or none."""
    source = "static int hidden(int x) { return x * 7; }\nint (*seen)(int) = hidden;\n"
    same = ("-shared", "-fPIC", "-Wl,--build-id=0x0123456789abcdef")
    plain = compiled("plain.so", *same, source=source)
    moved = compiled("moved.so", *same, "-Wl,-Ttext-segment=0x3a000000", source=source)
    _, debug = split(plain, tmp_path)
    put(debug, by_build_id(plain, tmp_path))
    stripped, _ = split(moved, tmp_path)
    start = address_of("hidden", moved)
    assert start > 0x3A000000
    assert read_file(stripped, tmp_path).table.find(start) == ("hidden", start)


def mini(program: Path, tmp_path: Path, packed: bytes | None = None) -> Path:
    """As Fedora's find-debuginfo does it."""
    debug, inner, section, stripped = (tmp_path / name for name in ("debug", "mini", "mini.xz", "stripped"))
    objcopy("--only-keep-debug", program, debug)
    objcopy("-S", "--remove-section=.comment", "--keep-symbol=hidden_function", debug, inner)
    section.write_bytes(lzma.compress(inner.read_bytes()) if packed is None else packed)
    objcopy("--strip-all", f"--add-section=.gnu_debugdata={section}", program, stripped)
    return stripped


def test_mini_debug_info_names_what_is_not_exported(compiled: Compiled, tmp_path: Path) -> None:
    """Broken: Fedora's binaries show exported functions only, though they carry the names of all."""
    program = compiled("dynamic", "-rdynamic", "-pie", "-fPIE")
    found = read_file(mini(program, tmp_path), tmp_path)
    for name in ("hidden_function", "exported_function"):
        start = address_of(name, program)
        assert found.table.find(start) == (name, start)
    assert [origin.name for origin in found.origins] == [".gnu_debugdata", ".dynsym"]


BOMB, CUT = lzma.compress(bytes(64 << 20)), lzma.compress(b"\x7fELF" * 99)[:-20]


@pytest.mark.parametrize("packed", [BOMB, CUT, b"junk", b""], ids=["bomb", "cut", "junk", "empty"])
def test_a_bomb_in_place_of_mini_debug_info_is_a_reason(packed: bytes, compiled: Compiled, tmp_path: Path) -> None:
    """Broken: 10 KB in a stranger's file become gigabytes in the profiler, or end it."""
    found = read_file(mini(compiled("pie", "-pie", "-fPIE"), tmp_path, packed), tmp_path)
    assert len(found.table) == 0
    assert "cannot be read" in found.reason or not packed


def test_debug_files_are_looked_for_only_if_they_are_needed(
    compiled: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: each file of each process costs a search of the disk, also those that have their symbols."""
    monkeypatch.setattr("rover_bpf.symbols.debugfiles.open_regular", lambda path: pytest.fail(f"opened {path}"))
    program = shutil.copy(compiled("pie", "-pie", "-fPIE"), tmp_path)
    assert read_file(Path(program), tmp_path).reason == ""


def test_that_there_is_no_debug_file_is_remembered(
    compiled: Compiled, run: Run, symbolizer: Symbolizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: every look at a stripped program's addresses searches the disk anew."""
    tried: list[Path] = []

    def refuse(path: Path) -> int:
        tried.append(path)
        raise FileNotFoundError(path)

    monkeypatch.setattr("rover_bpf.symbols.debugfiles.open_regular", refuse)
    program = run(compiled("lean", "-s", "-static"))
    for offset in range(20):
        symbolizer.observe(program.key)
        symbolizer.user(program.key, [program.addresses["exported_function"] + offset])
    assert 0 < len(tried) <= 2


@needs_root
def test_a_container_brings_its_own_debug_files(
    compiled: Compiled, run: Run, symbolizer: Symbolizer, name_of: NameOf, tmp_path: Path
) -> None:
    """Broken: what runs in a container goes by the host's debug files, which are not there or are others."""
    program, root = compiled("static", "-static"), tmp_path / "inner"
    stripped, debug = split(program, tmp_path)
    where = by_build_id(program, root)
    root.mkdir()
    copy = f"mkdir -p {where.parent} && cp {debug} {where} && cp {stripped} {root}/program"
    try:
        script = f"mount -t tmpfs none {root} && {copy} && exec chroot {root} /program"
        running = run("unshare", "--mount", "sh", "-c", script)
    except AssertionError:
        pytest.skip("no namespaces here")
    assert not where.exists()
    key = running.key
    symbolizer.observe(key)
    running.end()
    assert name_of(key, running.addresses["hidden_function"]).symbol == "hidden_function"


def test_local_functions_of_libc_have_names_with_its_debug_package(symbolizer: Symbolizer) -> None:
    """Broken: threads begin in `[unknown]` although libc6-dbg, which names start_thread, is installed."""
    if subprocess.run(["dpkg-query", "-W", "libc6-dbg"], capture_output=True).returncode:
        pytest.skip("libc6-dbg is not installed")
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            stat = Path(f"/proc/{sleeper.pid}/stat")
            key = ProcessKey(sleeper.pid, int(stat.read_text().rpartition(")")[2].split()[19]))
            while "libc.so" not in Path(f"/proc/{sleeper.pid}/maps").read_text():
                pass
            symbolizer.observe(key)
            (libc,) = [source for source in symbolizer.sources(key) if "libc.so" in source.path]
            debug = Path(libc.origins[0].name)
            start = address_of("start_thread", debug)
            offset = int(next(
                line.split()[2] for line in Path(f"/proc/{sleeper.pid}/maps").read_text().splitlines()
                if line.startswith(f"{libc.start:x}-")
            ), 16)  # fmt: skip
            (frame,) = symbolizer.user(key, [libc.start - offset + start])
        finally:
            sleeper.kill()
    assert (frame.symbol, frame.module) == ("start_thread", "libc.so.6")
