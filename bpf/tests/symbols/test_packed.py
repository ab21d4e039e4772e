"""Packed string tables give back what was put in."""

from hypothesis import given, settings
from hypothesis import strategies as st

from rover_bpf.symbols.packed import PackedNames


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=9000).map(lambda name: name.replace(b"\0", b"_")), min_size=1, max_size=40))
def test_every_name_comes_back_also_across_blocks(names: list[bytes]) -> None:
    """Broken: functions go by parts of names, or by their neighbours'."""
    table, offsets = bytearray(), []
    for name in names:
        offsets.append(len(table))
        table += name + b"\0"
    packed = PackedNames()
    assert [packed.append(name + b"\0") for name in names] == offsets
    assert [packed.name(offset) for offset in offsets] == names
    assert [packed.name(offset) for offset in reversed(offsets)] == names[::-1]


def test_an_offset_beyond_the_table_is_an_empty_name() -> None:
    """Broken: a hostile file's name offset ends the profiler."""
    assert PackedNames(bytearray(b"one\0")).name(1 << 40) == b""


def test_names_of_real_functions_take_a_third() -> None:
    """Broken: packing costs time and saves nothing."""
    table = bytearray().join(b"_ZN4demo6Solver%dIiE7iterateEi\0" % number for number in range(20000))
    assert len(PackedNames(table)) < len(table) / 3
