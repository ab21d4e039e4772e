"""Numbers, pointers, expressions and instructions, each by its own."""

import pytest

from rover_bpf.unwind.cfa import How, Row, row_at
from rover_bpf.unwind.cursor import Budget, CfiError, Cursor
from rover_bpf.unwind.entries import Cie, Fde
from rover_bpf.unwind.expression import evaluate
from rover_bpf.unwind.machine import AARCH64, X86_64
from rover_bpf.unwind.rules import CHAIN, Kind, Rule, RuleCache, compile_row
from rover_bpf.unwind.walk import Stop, Unwound, UserState, Walk

RA = (16, How.OFFSET, -8)


@pytest.mark.parametrize(
    ("raw", "unsigned", "signed"),
    [("02", 2, 2), ("7f", 127, -1), ("8001", 128, 128), ("ff7e", 16255, -129), ("ff" * 9 + "01", 2**64 - 1, -1)],
)
def test_leb128(raw: str, unsigned: int, signed: int) -> None:
    """DWARF 5, figures 18 and 19 of appendix C, and the longest there is."""
    assert Cursor(bytes.fromhex(raw)).uleb() == unsigned
    assert Cursor(bytes.fromhex(raw)).sleb() == signed


@pytest.mark.parametrize("raw", ["", "80", "ff" * 20])
def test_leb128_without_end(raw: str) -> None:
    with pytest.raises(CfiError):
        Cursor(bytes.fromhex(raw)).uleb()


@pytest.mark.parametrize(
    ("encoding", "raw", "value"),
    [
        (0x00, "1020000000000000", 0x2010),
        (0x1B, "f0ffffff", 0x1000 - 16),
        (0x3B, "10000000", 0x8010),
        (0x03, "ffffffff", 0xFFFFFFFF),
        (0x0A, "feff", 2**64 - 2),
        (0x12, "0400", 0x1004),
        (0x0C, "ff" * 8, 2**64 - 1),
        (0x11, "8001", 0x1080),
        (0x19, "7f", 0xFFF),
    ],
)
def test_encoded_pointers(encoding: int, raw: str, value: int) -> None:
    assert Cursor(bytes.fromhex(raw), vaddr=0x1000).pointer(encoding, base=0x8000) == value


@pytest.mark.parametrize("encoding", [0x9B, 0x50, 0x20, 0x05, 0x0F])
def test_pointers_that_no_linker_writes(encoding: int) -> None:
    with pytest.raises(CfiError):
        Cursor(bytes(16)).pointer(encoding)


def value(code: str, *start: int) -> int:
    registers = {6: 1000, 7: 2000, 16: 0x40102B}
    memory = {1000: 0x1122334455667788, 992: 5000}
    return evaluate(bytes.fromhex(code), registers.__getitem__, memory.__getitem__, Budget(1000), *start)


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("77 08", 2008),
        ("76 78 06", 5000),  # breg6 -8, deref: a realigned stack
        ("76 00 94 02", 0x7788),
        ("92 07 78", 1992),
        ("0a e803 0b feff 22", 998),
        ("10 8001 11 7f 1e", 2**64 - 128),
        ("35 33 1c", 2),
        ("33 35 1c", 2**64 - 2),
        ("37 32 1b", 3),
        ("09 f9 32 1b", 2**64 - 3),  # -7 / 2 towards zero
        ("37 34 1d", 3),
        ("09 f8 31 26", 2**64 - 4),  # arithmetic shift
        ("08 f8 31 25", 0x7C),
        ("31 33 24", 8),
        ("09 ff 19", 1),
        ("35 1f 20", 4),
        ("33 35 27 31 21 37 1a", 7),
        ("31 32 16 1c", 1),  # swap
        ("31 32 33 17 1c", 2**64 - 1),  # rot: 3 1 2
        ("31 32 14 22 22", 4),  # over
        ("31 32 33 15 02 13", 3),  # pick, drop
        ("34 12 1e", 16),
        ("31 28 0100 30 3f", 15),  # a branch taken
        ("30 28 0100 96 35 23 05", 10),
        ("2f 0100 30 33", 3),
        ("09 ff 31 2d 31 09 ff 2b 1a", 1),  # comparisons are signed
        ("31 31 29 31 32 2e 1a 32 32 2a 1a 32 32 2c 1a", 1),
        ("03 0010000000000000", 0x1000),
    ],
)
def test_expressions(code: str, result: int) -> None:
    assert value(code) == result


@pytest.mark.parametrize(("at", "cfa"), [(0x401020, 2008), (0x40102A, 2008), (0x40102B, 2016), (0x40102F, 2016)])
def test_the_expression_of_a_linkage_table_entry(at: int, cfa: int) -> None:
    assert X86_64.plt
    registers = {7: 2000, 16: at}
    assert evaluate(X86_64.plt, registers.__getitem__, {}.__getitem__, Budget(100)) == cfa
    known = compile_row(Row(X86_64.plt, (RA,), 16, False), X86_64, at)
    assert known[:4] == (Kind.SP, cfa - 2000, -8, None)


@pytest.mark.parametrize("code", ["", "12", "30 30 1b", "2f fdff", "f1", "22", "15 09", "77", "50"])
def test_expressions_that_make_no_sense(code: str) -> None:
    with pytest.raises(CfiError):
        value(code)


def row(program: str, at: int = 100, initial: str = "0c07089001") -> Row:
    """12 7 8 is def_cfa rsp+8; 0x90 1 says that register 16 is at CFA-8."""
    cie = Cie(1, -8, 16, 0x1B, True, False, bytes.fromhex(initial))
    return row_at(Fde(cie, 0, 1000, bytes.fromhex(program)), at, Budget(1000))


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("", Row((7, 8), (RA,), 16, False)),
        ("410e108602", Row((7, 16), ((6, How.OFFSET, -16), RA), 16, False)),
        ("0264 0e10 41 0e18", Row((7, 16), (RA,), 16, False)),  # advance to just here; the next is beyond
        ("03 6400 0e10", Row((7, 16), (RA,), 16, False)),
        ("04 65000000 0e10", Row((7, 8), (RA,), 16, False)),
        ("0d06 0a 0e20 8303 0b", Row((6, 8), (RA,), 16, False)),  # remembered and restored
        ("8303 c3", Row((7, 8), (RA,), 16, False)),  # restored to what the CIE says
        ("9005 d0", Row((7, 8), (RA,), 16, False)),
        ("050c03 060c 050d04", Row((7, 8), ((13, How.OFFSET, -32), RA), 16, False)),
        ("0710", Row((7, 8), ((16, How.UNDEFINED, 0),), 16, False)),
        ("0803 0903 0c", Row((7, 8), ((3, How.REGISTER, 12), RA), 16, False)),
        ("0f027708", Row(b"\x77\x08", (RA,), 16, False)),
        (
            "1006027600 160302 7608",
            Row((7, 8), ((3, How.VAL_EXPRESSION, b"v\x08"), (6, How.EXPRESSION, b"v\0"), RA), 16, False),
        ),
        ("11037e 12077d 137c", Row((7, 32), ((3, How.OFFSET, 16), RA), 16, False)),
        ("140302 150c7f", Row((7, 8), ((3, How.VAL_OFFSET, -16), (12, How.VAL_OFFSET, 8), RA), 16, False)),
        ("2e10 2f0302 2d", Row((7, 8), ((3, How.OFFSET, 16), RA), 16, False)),
    ],
)
def test_instructions(program: str, expected: Row) -> None:
    assert row(program) == expected


@pytest.mark.parametrize("program", ["0b", "3f", "0f05", "0f0130 0e10", "0c07"])
def test_programs_that_make_no_sense(program: str) -> None:
    with pytest.raises(CfiError):
        row(program)


def test_rows_become_the_fast_kind_of_rule_where_they_can() -> None:
    assert compile_row(row("410e108602"), X86_64)[:4] == (Kind.SP, 16, -8, -16)
    assert compile_row(row("0d06"), X86_64)[:4] == (Kind.FP, 8, -8, None)
    assert compile_row(row("0710"), X86_64).kind is Kind.END
    for rare in ("0f027708", "0c0a00", "1006027600", "0807 8707"):
        assert compile_row(row(rare), X86_64).kind is Kind.ROW


def test_rules_are_bounded_and_shared() -> None:
    rules = RuleCache(size=10)
    equal = [Rule(Kind.SP, 8, -8, None, row("")) for _ in range(2)]
    assert rules.put("a", 1, equal[0]) is rules.put("b", 2, equal[1])
    held = rules.of("a")
    for address in range(30):
        rules.put("a", address, CHAIN)
        assert len(rules) <= 10
        assert rules.of("a") is held
        assert held[address] is CHAIN
    rules.discard("a")
    assert len(rules) <= 1


def test_a_caller_that_only_scratch_registers_know() -> None:
    """glibc's longjmp, its stack pointer set already; elsewhere a stack that does not grow ends the walk."""
    jump = row("0c0500 090708 090609 091001")
    rules = {1: compile_row(jump, X86_64), 0x4FF: compile_row(row("0710"), X86_64)}
    state = UserState(1, 0x1000, 0, {1: 0x500, 5: 0x9000, 8: 0x1000, 9: 0x77})
    assert Walk(X86_64, rules, rules.get, state, b"", 127, Budget(10)).run() == Unwound((1, 0x500), Stop.OUTERMOST)
    rules[0x4FF] = rules[1]
    assert Walk(X86_64, rules, rules.get, state, b"", 127, Budget(10)).run().stop is Stop.NO_PROGRESS


def test_a_leaf_of_aarch64_returns_to_its_link_register_and_its_caller_to_what_was_saved() -> None:
    """With pointer authentication bits, which are not part of the address."""
    save, restore = (30, How.OFFSET, -8), (29, How.OFFSET, -16)
    rules = {
        0x100: compile_row(Row((31, 0), (), 30, False), AARCH64),
        0x1FF: compile_row(Row((31, 16), (restore, save), 30, False), AARCH64),
        0x2FF: compile_row(Row((31, 0), ((30, How.UNDEFINED, 0),), 30, False), AARCH64),
    }
    stack = (0x55).to_bytes(8, "little") + (0xAB << 56 | 0x300).to_bytes(8, "little")
    state = UserState(0x100, 0x1000, 0, {30: 0x200})
    walk = Walk(AARCH64, rules, rules.get, state, stack, 127, Budget(10))
    assert walk.run() == Unwound((0x100, 0x200, 0x300), Stop.OUTERMOST)
