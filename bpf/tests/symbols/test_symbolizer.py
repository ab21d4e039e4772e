"""Live programs that print where their functions are: what they say must be what they are named."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rover_bpf.symbols import Symbolizer
from rover_core.model import Frame, Loss, ProcessKey

Compiled = Callable[..., Path]
Run = Callable[..., Any]
NameOf = Callable[[ProcessKey, int], Frame]

FLAGS = {
    "pie": ("-pie", "-fPIE"),
    "no-pie": ("-no-pie",),
    "static": ("-static",),
    "static-pie": ("-static-pie", "-fPIE"),
    "packed": ("-Wl,-z,noseparate-code",),
}
if shutil.which("ld.gold"):
    FLAGS["gold"] = ("-fuse-ld=gold",)
LIBRARY = "int library_function(int x) { return x * 7; }\n"
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs namespaces of its own")


@pytest.mark.parametrize("kind", FLAGS)
def test_functions_are_named_wherever_the_file_is_mapped(
    kind: str, compiled: Compiled, run: Run, symbolizer: Symbolizer, name_of: NameOf
) -> None:
    program = run(compiled(kind, *FLAGS[kind]))
    symbolizer.observe(program.key)
    for name in ("exported_function", "hidden_function", "ends_in_call", "comes_next", "bare_label"):
        frame = name_of(program.key, program.addresses[name])
        assert (frame.symbol, frame.module, frame.offset, frame.kernel) == (name, kind, 0, False)
    data = name_of(program.key, program.addresses["data_not_function"])
    assert data.symbol is None
    assert symbolizer.stats.reasons == {}


def test_a_return_address_belongs_to_the_call_before_it(compiled: Compiled, run: Run, symbolizer: Symbolizer) -> None:
    """ends_in_call's last instruction is a call: its return address is already the first byte of comes_next."""
    program = run(compiled("pie", *FLAGS["pie"]))
    symbolizer.observe(program.key)
    address = program.addresses["comes_next"]
    leaf, caller = symbolizer.user(program.key, [address, address])
    assert leaf.symbol == "comes_next"
    assert caller.symbol == "ends_in_call"
    assert caller.offset == address - program.addresses["ends_in_call"]


def test_behind_a_sized_function_is_nothing(
    compiled: Compiled, run: Run, symbolizer: Symbolizer, name_of: NameOf
) -> None:
    program = run(compiled("pie", *FLAGS["pie"]))
    symbolizer.observe(program.key)
    frame = name_of(program.key, program.addresses["comes_next"] + 8)
    assert (frame.symbol, frame.module) == (None, "pie")
    resolved = subprocess.run(["nm", str(compiled("pie"))], capture_output=True, text=True, check=True).stdout
    start = next(int(line.split()[0], 16) for line in resolved.splitlines() if line.endswith(" comes_next"))
    assert frame.offset == start + 8


def test_addresses_outside_all_mappings_are_raw(compiled: Compiled, run: Run, symbolizer: Symbolizer) -> None:
    program = run(compiled("pie", *FLAGS["pie"]))
    symbolizer.observe(program.key)
    for address in (0, 1, 0x1234, 2**63, 2**64 - 1):
        assert symbolizer.user(program.key, [address, address])[1] == Frame(None, "", address)


def test_stripped_programs_keep_what_they_export(
    compiled: Compiled, run: Run, symbolizer: Symbolizer, name_of: NameOf
) -> None:
    program = run(compiled("stripped", "-s", "-rdynamic"))
    symbolizer.observe(program.key)
    assert name_of(program.key, program.addresses["exported_function"]).symbol == "exported_function"
    assert name_of(program.key, program.addresses["hidden_function"]).symbol is None


def test_a_file_without_symbols_is_a_reason(
    compiled: Compiled, run: Run, symbolizer: Symbolizer, name_of: NameOf
) -> None:
    path = compiled("bare", "-s", "-static")
    program = run(path)
    symbolizer.observe(program.key)
    assert name_of(program.key, program.addresses["exported_function"]).symbol is None
    assert "no symbols" in symbolizer.stats.reasons[str(path)]
    assert symbolizer.missing_reason(program.key) is Loss.UNSYMBOLIZED


def test_cplusplus_names_are_readable(compiled: Compiled, run: Run, symbolizer: Symbolizer, name_of: NameOf) -> None:
    source = r"""
    #include <cstdio>
    namespace shop { struct Cart { int total(int, const char *) const; }; }
    __attribute__((noinline)) int shop::Cart::total(int n, const char *) const { return n * 3; }
    __attribute__((noinline)) int sqrtCPlusPlus() { return 5; }
    int main() {
        auto method = &shop::Cart::total;
        std::printf("total %p\nsqrt %p\nready 0\n", *(void **)&method, (void *)sqrtCPlusPlus);
        std::fflush(stdout);
        return std::getchar();
    }
    """
    program = run(compiled("cpp", source=source, compiler="g++"))
    symbolizer.observe(program.key)
    assert name_of(program.key, program.addresses["total"]).symbol == "shop::Cart::total(int, char const*) const"
    assert name_of(program.key, program.addresses["sqrt"]).symbol == "sqrtCPlusPlus()"


def test_libraries_loaded_later_are_found(
    compiled: Compiled, run: Run, symbolizer: Symbolizer, name_of: NameOf
) -> None:
    """Upstream read the mappings once and never saw what dlopen brought."""
    library = compiled("library.so", "-shared", "-fPIC", source=LIBRARY)
    program = run(compiled("dlopener", "-DWITH_DLOPEN", "-ldl"))
    symbolizer.observe(program.key)
    program.say(str(library))
    address = program.addresses["library_function"]
    assert name_of(program.key, address) == Frame(None, "", address)
    symbolizer.observe(program.key)
    assert name_of(program.key, address) == Frame("library_function", "library.so", 0)


def test_a_program_that_has_exited_is_still_named(
    compiled: Compiled, run: Run, symbolizer: Symbolizer, name_of: NameOf
) -> None:
    program = run(compiled("pie", *FLAGS["pie"]))
    key = program.key
    symbolizer.observe(key)
    program.end()
    symbolizer.observe(key)
    assert name_of(key, program.addresses["hidden_function"]).symbol == "hidden_function"


@pytest.mark.parametrize("deleted", ["before it is seen", "after it is seen"])
def test_a_deleted_program_is_still_named(
    deleted: str, compiled: Compiled, run: Run, symbolizer: Symbolizer, name_of: NameOf, tmp_path: Path
) -> None:
    """An upgrade deletes the files that are running; the new ones of the same path must not be read instead."""
    path = Path(shutil.copy(compiled("pie", *FLAGS["pie"]), tmp_path / "program"))
    program = run(path)
    if deleted == "after it is seen":
        symbolizer.observe(program.key)
    path.unlink()
    shutil.copy("/bin/true", path)
    key = program.key
    symbolizer.observe(key)
    program.end()
    frame = name_of(key, program.addresses["hidden_function"])
    assert (frame.symbol, frame.module) == ("hidden_function", "program")


def test_a_deleted_library_is_still_named(
    compiled: Compiled, run: Run, symbolizer: Symbolizer, name_of: NameOf, tmp_path: Path
) -> None:
    library = Path(shutil.copy(compiled("library.so", "-shared", "-fPIC", source=LIBRARY), tmp_path / "gone.so"))
    program = run(compiled("dlopener", "-DWITH_DLOPEN", "-ldl"))
    program.say(str(library))
    library.unlink()
    symbolizer.observe(program.key)
    frame = name_of(program.key, program.addresses["library_function"])
    if frame.symbol is None:
        # Without CAP_CHECKPOINT_RESTORE there is no way to it, which must at least be said.
        assert "map_files" in symbolizer.stats.reasons[f"{library} (deleted)"]
        pytest.skip("map_files takes CAP_CHECKPOINT_RESTORE")
    assert frame.symbol == "library_function"


def test_a_file_replaced_after_the_exit_is_not_taken_for_the_old_one(
    compiled: Compiled, run: Run, symbolizer: Symbolizer, name_of: NameOf, tmp_path: Path
) -> None:
    path = Path(shutil.copy(compiled("pie", *FLAGS["pie"]), tmp_path / "program"))
    program = run(path)
    key = program.key
    symbolizer.observe(key)
    program.end()
    path.unlink()
    shutil.copy(compiled("no-pie", *FLAGS["no-pie"]), path)
    assert name_of(key, program.addresses["hidden_function"]).symbol is None
    assert "not the file that is mapped" in symbolizer.stats.reasons[str(path)]


def test_exec_wins_and_what_was_before_is_still_named(
    compiled: Compiled, run: Run, symbolizer: Symbolizer, name_of: NameOf
) -> None:
    """exec changes neither pid nor start time; samples of before it may be resolved after it."""
    program = run(compiled("pie", *FLAGS["pie"]))
    symbolizer.observe(program.key)
    before = dict(program.addresses)
    program.say(f"exec {compiled('no-pie', *FLAGS['no-pie'])}")
    symbolizer.observe(program.key)
    assert name_of(program.key, program.addresses["hidden_function"]).module == "no-pie"
    assert name_of(program.key, before["hidden_function"]) == Frame("hidden_function", "pie", 0)


@needs_root
def test_a_file_of_another_mount_namespace_is_that_file(
    compiled: Compiled, run: Run, symbolizer: Symbolizer, name_of: NameOf, tmp_path: Path
) -> None:
    """The host has another program of the same path, which upstream could read instead."""
    path = tmp_path / "inner" / "program"
    path.parent.mkdir()
    shutil.copy("/bin/true", path)
    source = shutil.copy(compiled("pie", *FLAGS["pie"]), tmp_path / "original")
    script = f"mount -t tmpfs none {path.parent} && cp {source} {path} && exec {path}"
    try:
        program = run("unshare", "--mount", "sh", "-c", script)
    except AssertionError:
        pytest.skip("no namespaces here")
    key = program.key
    symbolizer.observe(key)
    program.end()
    assert name_of(key, program.addresses["hidden_function"]) == Frame("hidden_function", "program", 0)


@needs_root
def test_a_chrooted_program_is_named(
    compiled: Compiled, run: Run, symbolizer: Symbolizer, name_of: NameOf, tmp_path: Path
) -> None:
    """Its maps show the path as the host sees it, not as it does."""
    shutil.copy(compiled("static", *FLAGS["static"]), tmp_path / "program")
    program = run("chroot", tmp_path, "/program")
    symbolizer.observe(program.key)
    assert name_of(program.key, program.addresses["hidden_function"]).symbol == "hidden_function"


def test_who_was_gone_before_anybody_looked(symbolizer: Symbolizer) -> None:
    with subprocess.Popen(["true"]) as gone:
        key = ProcessKey(gone.pid, 1)
        gone.wait()
    symbolizer.observe(key)
    assert symbolizer.user(key, [0x1000]) == (Frame(None, "", 0x1000),)
    assert symbolizer.missing_reason(key) is Loss.PROCESS_GONE


def test_a_zombie_is_gone_too(symbolizer: Symbolizer) -> None:
    """It still has a place in /proc, but no memory to look at."""
    with subprocess.Popen(["true"], stdout=subprocess.PIPE) as zombie:
        assert zombie.stdout
        zombie.stdout.read()
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        stat = Path(f"/proc/{zombie.pid}/stat").read_text()
        key = ProcessKey(zombie.pid, int(stat.rpartition(")")[2].split()[19]))
        symbolizer.observe(key)
    assert symbolizer.missing_reason(key) is Loss.PROCESS_GONE


def test_a_mapped_file_that_is_no_elf_file_is_a_reason(
    compiled: Compiled, run: Run, symbolizer: Symbolizer, name_of: NameOf, tmp_path: Path
) -> None:
    source = r"""
    #include <fcntl.h>
    #include <stdio.h>
    #include <sys/mman.h>
    int main(int argc, char **argv) {
        void *code = mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, open(argv[1], O_RDONLY), 0);
        printf("code %p\nready 0\n", code);
        fflush(stdout);
        return getchar();
    }
    """
    (tmp_path / "windows.exe").write_bytes(b"MZ" * 4096)
    program = run(compiled("mapper", source=source), tmp_path / "windows.exe")
    symbolizer.observe(program.key)
    assert name_of(program.key, program.addresses["code"] + 16) == Frame(None, "windows.exe", 16)
    assert symbolizer.stats.reasons == {str(tmp_path / "windows.exe"): "not an ELF file"}


def test_a_reused_pid_is_another_process(compiled: Compiled, run: Run, symbolizer: Symbolizer) -> None:
    program = run(compiled("pie", *FLAGS["pie"]))
    predecessor = ProcessKey(program.key.pid, program.key.start_ticks - 1)
    symbolizer.observe(predecessor)
    assert symbolizer.missing_reason(predecessor) is Loss.PROCESS_GONE


def test_forgotten_processes_take_no_memory(compiled: Compiled, run: Run, symbolizer: Symbolizer) -> None:
    program = run(compiled("pie", *FLAGS["pie"]))
    symbolizer.observe(program.key)
    symbolizer.forget(program.key)
    symbolizer.forget(program.key)
    assert symbolizer.stats.processes == 0
    assert symbolizer.missing_reason(program.key) is Loss.PROCESS_GONE


def test_processes_share_their_files_tables(
    compiled: Compiled, run: Run, symbolizer: Symbolizer, tmp_path: Path
) -> None:
    """Copies too, as in the layers of containers: the build id says that they are the same."""
    original = compiled("pie", *FLAGS["pie"])
    for path in (original, original, Path(shutil.copy(original, tmp_path / "copy"))):
        program = run(path)
        symbolizer.observe(program.key)
        assert symbolizer.user(program.key, [program.addresses["exported_function"]])[0].symbol
    assert symbolizer.stats.tables == 1


def test_tables_stay_within_their_budget_and_come_back(compiled: Compiled, run: Run) -> None:
    """More programs than fit: each is named whenever it is asked for, and the sum of all never exceeds the limit."""
    budget = 64_000
    symbolizer = Symbolizer(max_bytes=budget)
    programs = [run(compiled(kind, *FLAGS[kind])) for kind in ("static", "pie", "static-pie", "no-pie")]
    for turn in range(3):
        for program in programs:
            symbolizer.observe(program.key)
            # Another address each turn: the frame of the last one would need no table.
            address = program.addresses["hidden_function"] + turn
            assert symbolizer.user(program.key, [address])[0].symbol == "hidden_function"
            assert symbolizer.stats.bytes_used <= budget
    assert symbolizer.stats.evicted > 0


@needs_root
@pytest.mark.parametrize("capable", [True, False])
def test_without_root(capable: bool, compiled: Compiled, run: Run) -> None:
    """Three capabilities are all it takes; without them a refusal is a reason, not a crash."""
    program = run(compiled("pie", *FLAGS["pie"]))
    capabilities = "+sys_ptrace,+dac_read_search,+syslog" if capable else "-all"
    script = f"""
import sys
sys.path[:0] = {[str(Path(__file__).parents[3]), str(Path(__file__).parents[2])]!r}
from rover_bpf.symbols import Symbolizer
from rover_core.model import ProcessKey
key, symbolizer = ProcessKey({program.key.pid}, {program.key.start_ticks}), Symbolizer()
symbolizer.observe(key)
frame = symbolizer.user(key, [{program.addresses["hidden_function"]}])[0]
kernel = symbolizer.kernel([{first_kernel_address()}])[0]
print(frame.symbol, kernel.symbol is not None, symbolizer.missing_reason(key), len(symbolizer.stats.reasons))
"""
    command = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    command += ["--inh-caps", capabilities, "--ambient-caps", capabilities, "--bounding-set", capabilities]
    result = subprocess.run([*command, sys.executable, "-c", script], capture_output=True, text=True)
    if "setpriv" in result.stderr or "Permission denied" in result.stderr:
        pytest.skip(result.stderr)
    expected = "hidden_function True unsymbolized 0" if capable else "None False unsymbolized 2"
    assert result.stdout.strip() == expected, result.stderr


def first_kernel_address() -> int:
    for line in Path("/proc/kallsyms").read_text().splitlines():
        if line.split()[1] == "T":
            return int(line.split()[0], 16)
    return 0
