import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rover_bpf.symbols.files import reader_of
from rover_bpf.symbols.packed import PackedNames
from rover_bpf.symbols.table import Candidates, SymbolTable, build, gather_names, underscores


def table(*symbols: tuple[int, int, int, str], room: int = 1000) -> SymbolTable:
    """(start, size, rank, name) each."""
    blob, names = bytearray(1), []
    for *_, name in symbols:
        names.append(len(blob))
        blob += name.encode() + b"\0"
    starts, sizes, ranks, _ = zip(*symbols, strict=True)
    found = Candidates(
        np.array(starts, np.uint64),
        np.array(sizes, np.uint32),
        np.full(len(symbols), room, np.uint32),
        np.array(ranks, np.uint8),
        np.array(names, np.uint32),
        underscores(np.frombuffer(blob, np.uint8), np.array(names, np.uint32)),
    )
    return build(found, PackedNames(blob))


def name(symbols: SymbolTable, address: int) -> str | None:
    found = symbols.find(address)
    return found[0] if found else None


def test_an_address_past_a_sized_symbol_is_not_that_symbol() -> None:
    symbols = table((100, 10, 0, "a"), (200, 10, 0, "b"))
    assert [name(symbols, n) for n in (99, 100, 109, 110, 199, 209, 210)] == [None, "a", "a", None, None, "b", None]


def test_a_symbol_without_size_reaches_to_the_next_or_the_end_of_its_section() -> None:
    symbols = table((100, 0, 0, "a"), (200, 0, 0, "b"), room=150)
    assert [name(symbols, n) for n in (199, 200, 349, 350)] == ["a", "b", "b", None]


def test_labels_inside_a_function_are_the_function() -> None:
    symbols = table((100, 50, 0, "function"), (120, 0, 2, "label"), (150, 0, 2, "after"))
    assert [name(symbols, n) for n in (119, 120, 149, 150)] == ["function", "function", "function", "after"]


def test_behind_an_inner_function_is_the_outer_one_again() -> None:
    symbols = table((100, 100, 0, "outer"), (120, 10, 0, "inner"))
    assert [name(symbols, n) for n in (119, 120, 129, 130, 199, 200)] == [
        "outer", "inner", "inner", "outer", "outer", None,
    ]  # fmt: skip


def test_of_several_names_the_global_then_the_longer_then_the_plain_one_wins() -> None:
    assert name(table((1, 5, 1, "local"), (1, 5, 0, "exported")), 1) == "exported"
    assert name(table((1, 5, 0, "short"), (1, 9, 0, "long")), 1) == "long"
    assert name(table((1, 5, 0, "__libc_malloc"), (1, 5, 0, "malloc"), (1, 5, 0, "_IO_malloc")), 1) == "malloc"


def test_the_ends_of_the_address_space() -> None:
    symbols = table((0, 0, 0, "first"), (2**64 - 8, 0, 0, "last"), room=8)
    assert [name(symbols, n) for n in (0, 7, 8, 2**64 - 8, 2**64 - 2)] == ["first", "first", None, "last", "last"]


@given(st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\0", b"x")), min_size=1, max_size=30), st.data())
def test_gathered_names_are_the_names(words: list[bytes], data: st.DataObject) -> None:
    """Any choice of offsets, also into the middle of words (linkers let names share their ends)."""
    strings = b"\0".join(words) + b"\0"
    chosen = data.draw(st.lists(st.integers(0, len(strings) - 1), min_size=1))
    blob = bytearray(b"before\0")

    def put(names: bytes) -> int:
        blob.extend(names)
        return len(blob) - len(names)

    moved, marks = gather_names(reader_of(strings), len(strings), np.array(chosen, np.uint32), put)
    assert marks.tolist() == [2 if strings[n : n + 2] == b"__" else strings[n : n + 1] == b"_" for n in chosen]
    for old, new in zip(chosen, moved.tolist(), strict=True):
        assert blob[new : blob.index(0, new)] == strings[old : strings.index(0, old)]
    assert len(blob) <= len(b"before\0") + len(strings) + 1
