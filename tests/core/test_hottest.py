"""The table of hottest functions, and the line about completeness."""

import io
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rover_core.hottest import HotFunction, hottest
from rover_core.model import Completeness, Frame, Loss, ProcessKey, Profile, SampleType, StackSample
from rover_core.tables import completeness_sentence, print_completeness, print_hottest, print_profiles

MAIN, WORK = Frame("main", "app", 0), Frame("work", "app", 0)
LOST, ALSO_LOST = Frame(None, "libx.so", 16), Frame(None, "libx.so", 32)
SYSCALL = Frame("do_syscall_64", "[kernel]", 1, kernel=True)


def profile(*samples: tuple[int, str, tuple[Frame, ...], tuple[Frame, ...], int]) -> Profile:
    """Of (pid, process name, user frames, kernel frames, value)."""
    made = tuple(StackSample(ProcessKey(p, 1), name, user, kernel, (v,)) for p, name, user, kernel, v in samples)
    return Profile("t", "ON_CPU", 0, 1, (SampleType("samples", "count"),), made, Completeness())


def shown(printed: Profile, width: int = 80) -> str:
    out = io.StringIO()
    print_hottest(printed, Console(file=out, width=width))
    return out.getvalue()


def test_self_is_the_innermost_frame_and_total_everything_below() -> None:
    """Broken: time is shown in the wrong function."""
    rows = hottest(profile((1, "app", (WORK, MAIN), (SYSCALL,), 3), (1, "app", (WORK, MAIN), (), 2)), 10)
    assert rows == [
        HotFunction("app", 1, "do_syscall_64", "[kernel]", 3, 3),
        HotFunction("app", 1, "work", "app", 2, 5),
        HotFunction("app", 1, "main", "app", 0, 5),
    ]


def test_recursion_counts_once() -> None:
    """Broken: a recursive function with more than 100 %."""
    assert hottest(profile((1, "app", (WORK, WORK, MAIN, WORK), (), 4)), 1)[0].total == 4


def test_processes_of_one_name_are_one_row_and_counted() -> None:
    """Broken: forty workers fill the table with the same line."""
    rows = hottest(profile((1, "w", (WORK,), (), 1), (2, "w", (WORK,), (), 1), (3, "other", (WORK,), (), 1)), 9)
    assert [(row.process_name, row.pid_count, row.self) for row in rows] == [("w", 2, 2), ("other", 1, 1)]


def test_addresses_without_symbols_are_one_row_a_module() -> None:
    """Broken: a stripped library is scattered over the table and looks harmless."""
    rows = hottest(profile((1, "a", (LOST,), (), 1), (1, "a", (ALSO_LOST,), (), 2)), 9)
    assert [(row.function, row.module, row.self) for row in rows] == [("libx.so (no symbol)", "libx.so", 3)]


@given(st.lists(st.tuples(st.lists(st.sampled_from([MAIN, WORK, LOST]), max_size=5), st.integers(0, 9))))
def test_own_values_add_up(stacks: list[tuple[list[Frame], int]]) -> None:
    """Broken: the column of self percentages does not sum to what was measured."""
    rows = hottest(profile(*((1, "a", tuple(frames), (), value) for frames, value in stacks)), 99)
    assert sum(row.self for row in rows) == sum(value for frames, value in stacks if frames)
    assert all(row.self <= row.total for row in rows)


def test_table_fits_a_narrow_terminal() -> None:
    """Broken: wrapped rows that nobody can read."""
    long = Frame("std::vector<" + "int, " * 60 + ">", "libverylongname.so", 0)
    printed = shown(profile((1, "a-process-with-a-long-name", (long, MAIN), (), 3), (2, "b", (MAIN,), (), 1)))
    assert all(len(line.rstrip()) <= 80 for line in printed.splitlines())
    row = next(line for line in printed.splitlines() if "vector" in line)
    assert "75.0 %" in row
    assert row.rstrip().endswith("█" * 9)


@pytest.mark.parametrize("width", [80, 120])
def test_time_is_shown_beside_its_share(width: int) -> None:
    """Broken: percentages of nobody knows how much, or rows that are wider than the terminal."""
    counted = profile((1, "app", (WORK, MAIN), (), 1_150_000_000), (1, "app", (MAIN,), (), 350_000_000))
    printed = shown(replace(counted, sample_types=(SampleType("delay", "nanoseconds"),)), width)
    assert re.search(r"work +app +1.15 s +76.7 % +1.15 s +76.7 %", printed)
    assert re.search(r"main +app +350 ms +23.3 % +1.5 s +100.0 %", printed)
    assert all(len(line.rstrip()) <= width for line in printed.splitlines())
    assert ("█" in printed) == (width > 100)


def test_several_tables_say_whose_they_are() -> None:
    """Broken: nobody can tell what computed from what waited; or one table alone has a title it does not need."""
    out = io.StringIO()
    one = profile((1, "app", (WORK,), (), 1))
    print_profiles([one, replace(one, profiler="OFF_CPU")], Console(file=out, width=80))
    assert [line.strip() for line in out.getvalue().splitlines() if "CPU" in line] == ["ON_CPU", "OFF_CPU"]
    assert "ON_CPU" not in shown(one)


def test_names_are_not_markup_nor_terminal_controls() -> None:
    """Broken: a symbol name changes the reader's terminal, or `[bold]` vanishes from a name."""
    printed = shown(profile((1, "[red]p", (Frame("[bold]f\x1b[2J\n", "[m]", 0),), (), 1)), 100)
    assert "[red]p" in printed
    assert "[bold]f\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}" in printed


def test_nothing_to_show() -> None:
    """Broken: an empty table, or a division by zero, where nothing ran."""
    assert "No samples" in shown(profile())
    assert "No samples" in shown(profile((1, "a", (MAIN,), (), 0)))


@pytest.mark.parametrize(
    ("completeness", "sentence"),
    [
        (Completeness(), "complete: no samples were expected and none were lost"),
        (Completeness(1485, 1485), "complete: all 1,485 samples kept"),
        (
            Completeness(1_000_000, 999_999, {Loss.MAP_FULL: 1, Loss.RING_FULL: 0}),
            "incomplete: 99.9 % of 1,000,000 samples kept; lost: 1 map full",
        ),
        (
            Completeness(10, 4, {Loss.MAP_FULL: 1, Loss.QUEUE_FULL: 5}, {Loss.UNSYMBOLIZED: 2}),
            "incomplete: 40.0 % of 10 samples kept; lost: 5 queue full, 1 map full; "
            "poorer than they should be: 2 unsymbolized",
        ),
    ],
)
def test_completeness_is_calm_or_explicit(completeness: Completeness, sentence: str) -> None:
    """Broken: a loss that is rounded away, or an alarm where all is well."""
    assert completeness_sentence(completeness) == sentence
    out = io.StringIO()
    print_completeness(completeness, Console(file=out, width=40))
    assert out.getvalue() == f"{sentence}\n"
