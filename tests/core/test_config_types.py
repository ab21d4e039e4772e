"""Durations, sizes and lists: what people write is what the agent uses."""

from contextlib import suppress
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from rover_core.config import (
    CommaList,
    Duration,
    MinDuration,
    MinSize,
    Size,
    format_duration,
    format_size,
    parse_cli_duration,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("10s", 10 * 10**9),
        ("9ms", 9 * 10**6),
        ("1m30s", 90 * 10**9),
        ("1.5h", 5400 * 10**9),
        ("7d", 7 * 86400 * 10**9),
        ("3us", 3000),
        ("3µs", 3000),  # U+00B5
        ("3μs", 3000),  # U+03BC
        ("5ns", 5),
        ("0", 0),
        (" 0.1s ", 10**8),
        ("1h0m0s", 3600 * 10**9),
    ],
)
def test_durations_are_read_as_go_reads_them(text: str, ns: int) -> None:
    """Broken: a contract's configuration file means other times here than upstream."""
    assert parse_duration(text) == ns


@pytest.mark.parametrize(
    "text", ["", "5 apples", "s", "-1s", "1e3s", "10 s", "1.5.5s", "٣s", "10S", "\x00", "9" * 5000 + "s"]
)
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    """Broken: a typo becomes some other duration, or an error without help."""
    with pytest.raises(ValueError, match=r"expected a number with a unit, for example 10s, 9ms, 1m30s"):
        parse_duration(text)


def test_a_number_without_unit_is_only_accepted_on_the_command_line() -> None:
    """Broken: `flush_interval: 5` silently means 5 ns or 5 s, whichever the reader did not think of."""
    with pytest.raises(ValueError, match="'5' has no unit"):
        parse_duration("5")
    assert parse_cli_duration("5") == 5 * 10**9
    assert parse_cli_duration("0.5") == 5 * 10**8
    assert parse_cli_duration("2m") == 120 * 10**9


def test_a_duration_beyond_64_bits_is_refused() -> None:
    """Broken: an overflow in the kernel or on the wire."""
    with pytest.raises(ValueError, match="292 years"):
        parse_duration("9999999h")


@given(st.integers(0, 2**63 - 1))
def test_every_duration_survives_being_shown(ns: int) -> None:
    """Broken: `rover config show` prints another value than the one in effect."""
    assert parse_duration(format_duration(ns)) == ns


@given(st.integers(0, 2**63 - 1))
def test_every_size_survives_being_shown(size: int) -> None:
    """Broken: `rover config show` prints another value than the one in effect."""
    assert parse_size(format_size(size)) == size


@given(st.text(max_size=30))
def test_no_text_makes_the_readers_raise_anything_but_value_error(text: str) -> None:
    """Broken: a strange value ends in a traceback instead of a sentence."""
    for read in (parse_duration, parse_cli_duration, parse_size):
        with suppress(ValueError):
            assert read(text) >= 0


@pytest.mark.parametrize("unit", ["K", "KB", "KiB", "k", "kb", "kib"])
def test_size_units_are_to_base_1024_in_any_case(unit: str) -> None:
    """Broken: a buffer of 400KB is 400 000 bytes, no multiple of a page."""
    assert parse_size(f"400{unit}") == 409_600
    assert parse_size(f"400 {unit}") == 409_600


def test_sizes_without_unit_are_bytes() -> None:
    """Broken: plain byte counts of upstream's files are refused."""
    assert parse_size("4096") == 4096
    assert parse_size("1.5M") == 1536 * 1024
    with pytest.raises(ValueError, match="'3X' is not a size"):
        parse_size("3X")


class _Model(BaseModel):
    period: Annotated[Duration, MinDuration("1ms")] = parse_duration("9ms")
    buffer: Annotated[Size, MinSize("4KB")] = parse_size("400KB")
    names: CommaList = ()


def test_fields_take_texts_and_python_values_and_show_texts() -> None:
    """Broken: a plugin's defaults, its file values and its overrides from code do not mean the same."""
    model = _Model(period="1s", buffer=8192, names="a, b,,c")  # type: ignore[arg-type]
    assert (model.period, model.buffer, model.names) == (10**9, 8192, ("a", "b", "c"))
    assert model.model_dump(mode="json") == {"period": "1s", "buffer": "8KB", "names": ["a", "b", "c"]}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"period": "10us"}, "10us is too short; expected at least 1ms"),
        ({"buffer": "1KB"}, "1KB is too small; expected at least 4KB"),
        ({"period": True}, "True is not a duration"),
        ({"period": 1.5}, "1.5 is not a duration"),
        ({"buffer": -1}, "-1 is not a size"),
    ],
)
def test_limits_are_named_in_the_units_of_the_writer(values: dict[str, object], text: str) -> None:
    """Broken: the error speaks of 1000000 where the file says 1ms."""
    with pytest.raises(ValidationError, match=text):
        _Model(**values)  # type: ignore[arg-type]
