import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover_bpf.symbols.demangle import MAX_CHARS, demangle


@pytest.mark.parametrize(
    ("mangled", "readable"),
    [
        ("_Z13sqrtCPlusPlusv", "sqrtCPlusPlus()"),
        ("_ZN3foo3barERKSs", "foo::bar(std::string const&)"),
        ("._Z13sqrtCPlusPlusv", "sqrtCPlusPlus()"),
        ("$_Z13sqrtCPlusPlusv", "sqrtCPlusPlus()"),
        ("_ZN4core3ptr13drop_in_place17h0123456789abcdefE", "core::ptr::drop_in_place"),
        ("_ZN4core3ptr13drop_in_place17h0123456789abcdefE.llvm.4711", "core::ptr::drop_in_place"),
        (
            "_ZN60_$LT$alloc..string..String$u20$as$u20$core..fmt..Display$GT$3fmt17h0123456789abcdefE",
            "<alloc::string::String as core::fmt::Display>::fmt",
        ),
        ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
        ("main.sqrtGolang", "main.sqrtGolang"),
        ("vfprintf", "vfprintf"),
        (".L42", ".L42"),
        ("$x", "$x"),
        ("", ""),
        ("_Znonsense", "_Znonsense"),
        ("_Rnonsense", "_Rnonsense"),
        ("?foo@@YAXXZ", "?foo@@YAXXZ"),
        ("py::main:/srv/app.py", "py::main:/srv/app.py"),
    ],
)
def test_names_read_as_their_language_writes_them(mangled: str, readable: str) -> None:
    assert demangle(mangled) == readable


def test_cplusplus_names_agree_with_binutils() -> None:
    names = ["_ZNSt6vectorIiSaIiEE9push_backERKi", "_ZN9__gnu_cxx13new_allocatorIcE8allocateEmPKv", "_ZplRK1AS1_"]
    filtered = subprocess.run(["c++filt", *names], capture_output=True, text=True, check=True).stdout
    assert [demangle(name) for name in names] == filtered.replace("> >", ">>").splitlines()


def test_a_short_name_cannot_print_gigabytes() -> None:
    """Each level doubles the output: without the limit this one would take all the memory there is."""
    bomb = "_Z1f1A1BIS_S_E"
    for level in range(60):
        digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        number = level + 1
        seq = digits[number] if number < 36 else "1" + digits[number - 36]
        bomb += f"S0_IS{seq}_S{seq}_E"
    assert demangle(bomb) == bomb


@pytest.mark.parametrize("name", ["_Z1f" + "P" * 4000 + "i", "_ZN" + "1a" * 2000 + "E", "x" * 100_000])
def test_long_names_are_cut(name: str) -> None:
    assert len(demangle(name)) <= MAX_CHARS


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="_ZRNSTIEBKv0123456789PCLhu$.abxé\ud800", max_size=60).map(lambda tail: "_" + tail))
def test_no_name_raises(name: str) -> None:
    assert len(demangle(name)) <= MAX_CHARS
