"""Names come from other people's binaries: any bytes, and any length of them."""

from datetime import datetime


def encodable(text: str) -> str:
    """The same text as far as UTF-8 can hold it; what was never UTF-8 becomes `\\udcff` escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def moment(ns: int) -> datetime:
    """Wall-clock nanoseconds as local time."""
    return datetime.fromtimestamp(ns / 1e9).astimezone()
