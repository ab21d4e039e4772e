"""Names come from other people's binaries: any bytes, and any length of them."""

from datetime import datetime


def encodable(text: str) -> str:
    """The same text as far as UTF-8 can hold it; what was never UTF-8 becomes `\\udcff` escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def duration_text(ns: int) -> str:
    """`1.5 ms`, `15 s`, `2 h 5 min`: three digits at most, in the largest unit that fits."""
    if ns >= 3_600_000_000_000:
        hours, rest = divmod(ns // 60_000_000_000, 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    if ns >= 60_000_000_000:
        minutes, rest = divmod(ns // 1_000_000_000, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    for size, unit in ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs")):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns} ns"


def moment(ns: int) -> datetime:
    """Wall-clock nanoseconds as local time."""
    return datetime.fromtimestamp(ns / 1e9).astimezone()
