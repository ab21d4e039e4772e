from pathlib import Path

import pytest

from rover_bpf.symbols import Symbolizer
from rover_bpf.symbols.kallsyms import read_kallsyms

LINES = """\
ffffffff81002000 t later_function
ffffffff81000000 T _stext
ffffffff81000000 T first_function
ffffffff81001000 D some_data
ffffffff81001ff0 t __pfx_later_function
ffffffff81000800 W weak_function
ffffffffc0000000 t module_function\t[nf_tables]
"""


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "kallsyms").write_text(LINES)
    (tmp_path / "modules").write_text("nf_tables 1 0 - Live 0x0\n")
    return tmp_path


def test_functions_are_found_though_the_list_is_not_sorted(proc: Path) -> None:
    symbols = read_kallsyms(proc / "kallsyms").symbols
    assert symbols.find(0xFFFFFFFF81000010) == ("first_function", 0xFFFFFFFF81000000)
    assert symbols.find(0xFFFFFFFF81001FF8) == ("weak_function", 0xFFFFFFFF81000800)
    assert symbols.find(0xFFFFFFFF81002001) == ("later_function", 0xFFFFFFFF81002000)
    assert symbols.find(0xFFFFFFFF80FFFFFF) is None


def test_a_hole_behind_the_core_kernel_is_not_its_last_function(proc: Path) -> None:
    """Later modules and eBPF programs are loaded there."""
    assert read_kallsyms(proc / "kallsyms").symbols.find(0xFFFFFFFF90000000) is None


def test_module_functions_keep_their_module(proc: Path) -> None:
    frame, unknown = Symbolizer(proc=proc).kernel([0xFFFFFFFFC0000004, 0xFFFFFFFF90000000])
    assert (frame.symbol, frame.module, frame.offset, frame.kernel) == ("module_function", "[nf_tables]", 4, True)
    assert (unknown.symbol, unknown.module, unknown.offset) == (None, "[kernel]", 0xFFFFFFFF90000000)


def test_return_addresses_are_looked_up_in_the_call(proc: Path) -> None:
    leaf, caller = Symbolizer(proc=proc).kernel([0xFFFFFFFF81002000, 0xFFFFFFFF81002000])
    assert leaf.symbol == "later_function"
    assert (caller.symbol, caller.offset) == ("weak_function", 0x1800)


def test_modules_loaded_later_are_found(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rover_bpf.symbols.kernel._LOOK_EVERY_S", 0.0)
    symbolizer = Symbolizer(proc=proc)
    assert symbolizer.kernel([0xFFFFFFFFC0100000])[0].symbol is None
    with (proc / "kallsyms").open("a") as file:
        file.write("ffffffffc0100000 t new_function\t[new]\n")
    (proc / "modules").write_text("new 1 0 - Live 0x0\n")
    assert symbolizer.kernel([0xFFFFFFFFC0100000])[0].symbol == "new_function"


def test_hidden_addresses_are_no_symbols_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "kallsyms").write_text("0000000000000000 T one\n0000000000000000 T two\n")
    symbolizer = Symbolizer(proc=tmp_path)
    assert symbolizer.kernel([0xFFFFFFFF81002000])[0].symbol is None
    assert "kptr_restrict" in symbolizer.stats.reasons["[kernel]"]


@pytest.mark.parametrize("content", [None, "", "junk\n", "x y z\n", "ffff T\n"])
def test_an_unreadable_list_is_a_reason(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "kallsyms").write_text(content)
    assert read_kallsyms(tmp_path / "kallsyms").reason


def test_this_kernels_functions_are_found_as_listed() -> None:
    lines = [line.split() for line in Path("/proc/kallsyms").read_text().splitlines()]
    listed: dict[int, set[str]] = {}
    for line in lines:
        if line[1] in "tTwW" and not line[2].startswith(("__pfx_", "bpf_prog_")):  # BPF programs come and go
            listed.setdefault(int(line[0], 16), set()).add(line[2])
    if not any(listed):
        pytest.skip("this user may not see kernel addresses")
    symbolizer = Symbolizer()
    some = sorted(listed)[::97]
    for address in some:
        (frame,) = symbolizer.kernel([address])
        assert frame.symbol in listed[address]
        assert frame.offset == 0
    assert symbolizer.stats.bytes_used < 8 << 20
