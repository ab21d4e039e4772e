from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from rover_bpf.symbols.cache import TableCache


@dataclass
class Sized:
    nbytes: int


def test_the_longest_unused_goes_first() -> None:
    cache = TableCache(100)
    for key in "abc":
        cache.put(key, Sized(40 if key == "c" else 30))
    assert cache.get("a")
    cache.put("d", Sized(30))
    assert [key for key in "abcd" if cache.get(key)] == ["a", "c", "d"]
    assert (cache.bytes_used, cache.evicted) == (100, 1)


def test_what_grew_is_counted_by_its_new_size() -> None:
    cache, table = TableCache(100), Sized(10)
    cache.put("a", table)
    table.nbytes = 60
    cache.put("a", table)
    assert cache.bytes_used == 60
    cache.discard("a")
    assert cache.bytes_used == 0


def test_what_is_larger_than_everything_is_not_kept() -> None:
    cache = TableCache(100)
    cache.put("small", Sized(50))
    cache.put("large", Sized(101))
    assert cache.get("large") is None
    assert cache.get("small")


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 120), st.booleans())))
def test_the_budget_holds_whatever_happens(steps: list[tuple[int, int, bool]]) -> None:
    cache = TableCache(100)
    held: dict[int, Sized] = {}
    for key, size, keep in steps:
        held[key] = Sized(size)
        cache.put(key, held[key]) if keep else cache.discard(key)
        assert 0 <= cache.bytes_used <= 100
        assert cache.bytes_used == sum(table.nbytes for n, table in held.items() if cache.get(n) is table)
