"""Profiles on a terminal: the hottest functions and how complete the data is. Floor 1.

Rich is imported when something is printed: the agent itself prints no table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rover_core.hottest import HotFunction, hottest, total_value
from rover_core.model import Completeness, Loss, Profile
from rover_core.showing import duration_text, is_time, nothing_sentence

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_BAR_WIDTH = 12
_NUMBER_WIDTH = 7  # 100.0 %
_TIME_WIDTH = 10  # 1.15 s and two spaces, in front of that
_GAPS = 10  # two spaces between each of five columns
_ROOM_FOR_ALL = 100  # characters; a narrower terminal shows times instead of bars


def print_hottest(profile: Profile, console: Console | None = None, limit: int = 15) -> None:
    """Print a table of the `limit` hottest functions: process, function, self and total share, and a bar of both."""
    from rich.console import Console

    console = console or Console()
    total = total_value(profile)
    if not total:
        console.print(plain(nothing_sentence(profile)), markup=False, highlight=False)
        return
    timed = is_time(profile)
    table = _empty_table(console.width, timed)
    for row in hottest(profile, limit):
        bar = _bar(row.self / total, row.total / total, console.options.ascii_only)
        numbers = [_number(value, total, timed) for value in (row.self, row.total)]
        cells: list[Text | str] = [_process(row), _function(row), *numbers, bar]
        table.add_row(*cells[: len(table.columns)])
    console.print(table)


def print_profiles(profiles: Sequence[Profile], console: Console | None = None) -> None:
    """A table of each; where there are several, below the name of what made it."""
    from rich.console import Console
    from rich.text import Text

    console = console or Console()
    for profile in profiles:
        if len(profiles) > 1:
            console.print(Text(plain(profile.profiler), style="bold"))
        print_hottest(profile, console)


def print_completeness(
    completeness: Completeness, console: Console | None = None, of: str = "", unit: str = "samples"
) -> None:
    """Print one line: calm when everything is there, by cause otherwise. of: whose it is, where there are several."""
    from rich.console import Console
    from rich.text import Text

    calm = completeness.kept == completeness.expected
    sentence = f"{plain(of)}: " * bool(of) + completeness_sentence(completeness, unit)
    text = Text(sentence, style="dim" if calm else "yellow")
    (console or Console()).print(text, soft_wrap=True)


def completeness_sentence(completeness: Completeness, unit: str = "samples") -> str:
    """`complete: all 1,485 samples kept`, or how many of how many, and what became of the others. unit: of what."""
    c = completeness
    if not c.expected:
        return f"complete: no {unit} were expected and none were lost"
    if c.kept == c.expected:
        first = f"complete: all {c.expected:,} {unit} kept"
    else:
        causes = _by_cause(c.lost) or "no cause known"
        first = f"incomplete: {_floor_percent(c.ratio)} % of {c.expected:,} {unit} kept; lost: {causes}"
    return f"{first}; poorer than they should be: {_by_cause(c.degraded)}" if any(c.degraded.values()) else first


def plain(text: str) -> str:
    """The same text without characters a terminal would act on: names come from other people's binaries."""
    return (
        text if text.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    )


def cut_to_fit(*parts: str | tuple[str, str]) -> Text:
    """A cell that gives way to the others where there is little room, in a column that may be wrapped (no `no_wrap`).

    Rich cuts all columns alike, figures too, where none may. parts: texts, or (text, style).
    """
    from rich.text import Text

    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _floor_percent(ratio: float) -> str:
    # Rounding up would turn one lost sample in a million into "100.0 %".
    return f"{int(ratio * 1000) / 10:.1f}"


def _by_cause(counts: Mapping[Loss, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{count:,} {cause}" for cause, count in ordered if count)


def _empty_table(width: int, timed: bool) -> Table:
    from rich import box
    from rich.table import Table

    number_width = _NUMBER_WIDTH + (_TIME_WIDTH if timed else 0)
    bar_width = _BAR_WIDTH if not timed or width >= _ROOM_FOR_ALL else 0
    for_names = max(36, width - 2 * number_width - bar_width - _GAPS)
    for_process = min(24, for_names // 3)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Process", max_width=for_process)
    table.add_column("Function", max_width=for_names - for_process)
    table.add_column("Self", justify="right", no_wrap=True, min_width=number_width)
    table.add_column("Total", justify="right", no_wrap=True, min_width=number_width)
    if bar_width:
        table.add_column("", min_width=bar_width)
    return table


def _process(row: HotFunction) -> Text:
    several = f" x{row.pid_count}" if row.pid_count > 1 else ""
    return cut_to_fit(plain(row.process_name), (several, "dim"))


def _function(row: HotFunction) -> Text:
    # Text, never markup: `operator[]` and `[kernel]` are names.
    module = "" if row.function.startswith(row.module) else f"  {row.module}"
    return cut_to_fit(plain(row.function), (plain(module), "dim"))


def _number(value: int, total: int, timed: bool) -> str:
    """`45.2 %`; of time also how much: `1.15 s   45.2 %`."""
    percent = f"{100 * value / total:.1f} %"
    return f"{duration_text(value)} {percent:>{_NUMBER_WIDTH + 1}}" if timed else percent


def _bar(own: float, total: float, ascii_only: bool) -> Text:
    from rich.text import Text

    full, part = ("#", "-") if ascii_only else ("█", "░")
    own_cells, total_cells = round(own * _BAR_WIDTH), round(total * _BAR_WIDTH)
    return Text.assemble((full * own_cells, "red"), (part * (total_cells - own_cells), "yellow"))
