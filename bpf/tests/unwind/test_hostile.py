"""Files, stacks and registers made to do harm: an answer in bounded time, and no exception."""

import os
import random
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
import stops
from hypothesis import given, settings
from hypothesis import strategies as st

from rover_bpf.symbols.elf import named_sections, read_elf
from rover_bpf.symbols.files import reader_of
from rover_bpf.symbols.maps import parse_maps
from rover_bpf.unwind import Stop, Unwinder, UserState
from rover_bpf.unwind.cfa import How, Row, row_at
from rover_bpf.unwind.cursor import Budget, CfiError
from rover_bpf.unwind.entries import Cie, Fde
from rover_bpf.unwind.machine import X86_64
from rover_bpf.unwind.rules import BAD, CHAIN, Rule, compile_row
from rover_bpf.unwind.table import UnwindTable, read_table
from rover_bpf.unwind.walk import Walk

U64 = st.integers(0, 2**64 - 1)
NEAR = st.integers(-64, 1 << 12)
BASE = 0x7FFF_0000_0000
CIE = Cie(1, -8, 16, 0x1B, True, False, bytes.fromhex("0c07089001"))


@cache
def real_file() -> tuple[bytes, tuple[tuple[int, int], ...]]:
    """A small real file and where its call frame information is."""
    content = next(p for p in (Path("/usr/bin/env"), Path(sys.executable)) if p.exists()).read_bytes()
    read = reader_of(content)
    elf = read_elf(read)
    sections = {name: (int(s["offset"]), int(s["size"])) for name, s in named_sections(read, elf)}
    return content, (sections[b".eh_frame"], sections[b".eh_frame_hdr"])


@cache
def go_file(path: Path) -> bytes:
    return path.read_bytes()


def walk(table: UnwindTable, state: UserState, stack: bytes) -> Stop:
    budget = Budget(1 << 15)

    def find(address: int) -> Rule | None:
        try:
            row = table.row(address, budget)
        except CfiError:
            return BAD
        return compile_row(row, X86_64) if row else CHAIN

    unwound = Walk(X86_64, {}, find, state, stack, 127, budget).run()
    assert 1 <= len(unwound.addresses) <= 127
    return unwound.stop


def stack_of(words: list[int]) -> bytes:
    return b"".join((word & (2**64 - 1)).to_bytes(8, "little") for word in words)


@settings(max_examples=300, deadline=None)
@given(
    changes=st.lists(st.tuples(st.booleans(), st.integers(0, 1 << 20), st.integers(0, 255)), max_size=200),
    where=st.integers(0, 1 << 20),
    words=st.lists(U64 | NEAR.map(lambda n: BASE + n) | st.integers(0, 1 << 16), max_size=60),
    fp=U64 | NEAR.map(lambda n: BASE + n),
)
def test_mutated_tables(changes: list[tuple[bool, int, int]], where: int, words: list[int], fp: int) -> None:
    content, places = real_file()
    mutated = bytearray(content)
    for header, at, byte in changes:
        offset, size = places[header]
        mutated[offset + at % size] = byte
    read = reader_of(mutated)
    table = read_table(read, read_elf(read), 1 << 20)
    if table.index:
        start = table.index.base + int(table.index.starts[where % len(table.index.starts)])
        for address in (start, start + 1, start + 20, where):
            walk(table, UserState(address, BASE, fp, {3: fp, 12: where}), stack_of([*words, start + 5, address]))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_mutated_tables_of_go(data: st.DataObject, built: Callable[..., Path]) -> None:
    mutated = bytearray(go_file(built("shapes.go")))
    read = reader_of(mutated)
    section = next(s for name, s in named_sections(read, read_elf(read)) if name == b".gopclntab")
    begin, size = int(section["offset"]), int(section["size"])
    for _ in range(data.draw(st.integers(1, 8))):
        at = begin + data.draw(st.integers(0, 71) | st.integers(0, size - 8))
        mutated[at : at + 8] = data.draw(st.sampled_from([b"\xff" * 8, bytes(8)]) | st.binary(min_size=8, max_size=8))
    table = read_table(read, read_elf(read), 1 << 20)
    if table.go:
        starts = table.go.functions.starts
        for number in data.draw(st.lists(st.integers(0, len(starts) - 1), max_size=8)):
            address = table.go.functions.base + int(starts[number])
            walk(table, UserState(address + 9, BASE, BASE + 64), stack_of([address, address + 5] * 20))


@settings(max_examples=300, deadline=None)
@given(program=st.binary(max_size=300), initial=st.binary(max_size=20), words=st.lists(U64, max_size=20))
def test_random_programs(program: bytes, initial: bytes, words: list[int]) -> None:
    cie = Cie(1, -8, 16, 0x1B, True, False, CIE.program + initial)
    budget = Budget(1 << 12)
    with suppress(CfiError):
        row = row_at(Fde(cie, 0, 1000, program), 500, budget)
        rule = compile_row(row, X86_64)
        Walk(X86_64, {}, lambda _: rule, UserState(1, BASE, BASE + 16), stack_of(words), 127, budget).run()


@settings(max_examples=300, deadline=None)
@given(code=st.binary(min_size=1, max_size=60), words=st.lists(U64, min_size=1, max_size=20))
def test_random_expressions(code: bytes, words: list[int]) -> None:
    rows = [
        Row(code, ((16, How.OFFSET, -8),), 16, False),
        Row((7, 8), ((3, How.VAL_EXPRESSION, code), (6, How.EXPRESSION, code), (16, How.EXPRESSION, code)), 16, True),
    ]
    for row in rows:
        rule = compile_row(row, X86_64)
        budget = Budget(1 << 12)
        Walk(X86_64, {}, lambda _, rule=rule: rule, UserState(1, BASE, 0), stack_of(words), 127, budget).run()


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 1 << 30), sp=U64, fp=U64, others=st.dictionaries(st.integers(0, 20), U64), copied=NEAR)
def test_random_stacks_over_real_code(seed: int, sp: int, fp: int, others: dict[int, int], copied: int) -> None:
    unwinder, key, mappings = own_process()
    chance = random.Random(seed)
    words = [chance.choice(((mapping := chance.choice(mappings)).start, sp, fp, 0)) + chance.randrange(5000) * 2]
    words += [chance.randrange(mapping.start, mapping.end) for _ in range(40)]
    state = UserState(chance.randrange(mapping.start, mapping.end), sp, fp, others)
    unwound = unwinder.unwind(key, state, stack_of(words)[: max(copied, 0)])
    assert unwound.addresses[0] == state.ip


@cache
def own_process() -> tuple:
    unwinder, key = Unwinder(), stops.process_key(os.getpid())
    unwinder.observe(key)
    return unwinder, key, [m for m in parse_maps(Path("/proc/self/maps").read_bytes()) if m.of_file]


@pytest.mark.parametrize(
    "program",
    [
        bytes.fromhex("0a") * 40,  # remembers without end
        bytes.fromhex("0a0b") * 30_000,
        bytes([0x00]) * 60_000,
        bytes.fromhex("0f") + b"\xff" * 20,  # a block of 2**63 bytes
        b"".join(bytes([0x07]) + bytes([0x80 | n & 0x7F, n >> 7]) for n in range(16_000)),
    ],
)
def test_programs_that_would_take_for_ever(program: bytes) -> None:
    before = time.process_time()
    with pytest.raises(CfiError):
        row_at(Fde(CIE, 0, 1 << 40, program), 1 << 39, Budget(1 << 15))
    assert time.process_time() - before < 0.2


def test_an_expression_that_jumps_back_for_ever_uses_up_the_budget_of_its_stack() -> None:
    code = bytes.fromhex("30 2f fcff".replace(" ", ""))
    row = Row((7, 8), tuple((number, How.VAL_EXPRESSION, code) for number in range(17)), 16, False)
    rule = compile_row(row, X86_64)
    budget = Budget(1 << 12)
    unwound = Walk(X86_64, {}, lambda _: rule, UserState(1, BASE, 0), bytes(1 << 14), 127, budget).run()
    assert unwound.stop is Stop.BAD_TABLE


def test_tables_stay_within_their_budget() -> None:
    _, key, mappings = own_process()
    unwinder, room = Unwinder(max_bytes=60_000), 60_000
    unwinder.observe(key)
    for mapping in mappings * 2:
        unwinder.unwind(key, UserState(mapping.start + 1000, BASE, BASE), b"")
        assert unwinder.stats.bytes_used <= room
    assert unwinder.stats.evicted
    assert any("takes more than" in reason for reason in unwinder.stats.reasons.values())


def test_files_are_closed_with_their_tables(built: Callable[..., Path], start: Callable[..., int]) -> None:
    pid, before = start(built("shapes.cpp")), len(os.listdir("/proc/self/fd"))
    key, unwinder = stops.process_key(pid), Unwinder(max_bytes=1 << 20)
    unwinder.observe(key)
    for mapping in parse_maps(Path(f"/proc/{pid}/maps").read_bytes()):
        unwinder.unwind(key, UserState(mapping.start + 1000, BASE, BASE), b"")
    assert len(os.listdir("/proc/self/fd")) > before
    del unwinder
    assert len(os.listdir("/proc/self/fd")) == before
