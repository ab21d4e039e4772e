"""Durations, sizes and lists as people write them in a configuration.

Every leaf of a YAML file and of the environment arrives as text and is read by the type of its field, so that
`10`, `"10"` and `ROVER_X=10` mean the same. Values given by Python code are taken as they are: nanoseconds, bytes.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, GetCoreSchemaHandler, PlainSerializer
from pydantic_core import CoreSchema, core_schema

_LIMIT = 2**63 - 1  # what the backend and the kernel can hold
_NUMBER = r"(\d{1,19})(?:\.(\d{0,9}))?"

_NS = {
    "d": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "µs": 1_000,  # U+00B5, as Go prints it
    "μs": 1_000,  # U+03BC, as Greek keyboards do
    "ns": 1,
}
_DURATION_PART = re.compile(_NUMBER + "(ns|us|µs|μs|ms|s|m|h|d)", re.ASCII)
_PLAIN = re.compile(_NUMBER, re.ASCII)
_EXPECTED_DURATION = "expected a number with a unit, for example 10s, 9ms, 1m30s"

_SIZE = re.compile(_NUMBER + r"\s*([kmgt]?)(i?b)?", re.ASCII | re.IGNORECASE)
_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_EXPECTED_SIZE = "expected bytes or a number with a unit, for example 4096, 400KB, 2MiB"


def _scaled(whole: str, decimals: str | None, unit: int) -> int:
    """Exact where a float is not: 0.1s is 100 000 000 ns."""
    return int(whole) * unit + (int(decimals) * unit // 10 ** len(decimals) if decimals else 0)


def parse_duration(text: str) -> int:
    """Nanoseconds of a duration in Go's syntax (`1m30s`, `1.5h`; also days, `7d`).

    Raises ValueError with a readable text, among others for a number without a unit other than 0.
    """
    stripped = text.strip()
    if stripped == "0":
        return 0
    if _PLAIN.fullmatch(stripped):
        raise ValueError(f"{text!r} has no unit; {_EXPECTED_DURATION}")
    total = position = 0
    while match := _DURATION_PART.match(stripped, position):
        total += _scaled(match[1], match[2], _NS[match[3]])
        position = match.end()
    if not position or position < len(stripped):
        raise ValueError(f"{text!r} is not a duration; {_EXPECTED_DURATION}")
    if total > _LIMIT:
        raise ValueError(f"{text!r} is too long; the longest duration is 292 years")
    return total


def parse_cli_duration(text: str) -> int:
    """Nanoseconds, as `parse_duration`, but a plain number is seconds: `--duration 15`."""
    return parse_duration(f"{text.strip()}s" if _PLAIN.fullmatch(text.strip()) else text)


def format_duration(ns: int) -> str:
    """The shortest exact text that `parse_duration` reads back: 90 000 000 000 is `1m30s`, 1 500 000 is `1.5ms`."""
    if ns <= 0:
        return "0" if ns == 0 else f"-{format_duration(-ns)}"
    parts = []
    for unit in ("d", "h", "m"):
        count, ns = divmod(ns, _NS[unit])
        parts.append(f"{count}{unit}" if count else "")
    return "".join(parts) + (_format_seconds(ns) if ns else "")


def _format_seconds(ns: int) -> str:
    unit = next(unit for unit in ("s", "ms", "us", "ns") if ns >= _NS[unit])
    whole, rest = divmod(ns, _NS[unit])
    decimals = f".{rest:0{len(str(_NS[unit])) - 1}d}".rstrip("0") if rest else ""
    return f"{whole}{decimals}{unit}"


def parse_size(text: str) -> int:
    """Bytes of a size to base 1024 (`400KB` is 409600; K, KB and KiB are the same; a plain number is bytes).

    Raises ValueError with a readable text.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a size; {_EXPECTED_SIZE}")
    size = _scaled(match[1], match[2], _BYTES[match[3].lower()])
    if size > _LIMIT:
        raise ValueError(f"{text!r} is too large; {_EXPECTED_SIZE}")
    return size


def format_size(size: int) -> str:
    """The shortest exact text that `parse_size` reads back: 409600 is `400KB`, 1000 is `1000B`."""
    prefix = next(prefix for prefix in ("t", "g", "m", "k", "") if size % _BYTES[prefix] == 0) if size else ""
    return f"{size // _BYTES[prefix]}{prefix.upper()}B"


def _read_duration(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else _whole(value, "a duration", _EXPECTED_DURATION)


def _read_size(value: Any) -> Any:
    return parse_size(value) if isinstance(value, str) else _whole(value, "a size", _EXPECTED_SIZE)


def _whole(value: Any, kind: str, expected: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is not {kind}; {expected}")
    return value


def _read_list(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",") if part.strip()]


Duration = Annotated[int, BeforeValidator(_read_duration), PlainSerializer(format_duration, when_used="json")]
"""Nanoseconds; in a file or the environment a text such as `10s`, `9ms` or `1m30s`."""

Size = Annotated[int, BeforeValidator(_read_size), PlainSerializer(format_size, when_used="json")]
"""Bytes; in a file or the environment a text such as `400KB` or a plain number."""

CommaList = Annotated[tuple[str, ...], BeforeValidator(_read_list)]
"""Names; a YAML list or one text with commas: `a,b`."""


@dataclass(frozen=True, slots=True)
class MinDuration:
    """The shortest duration a field accepts: `Annotated[Duration, MinDuration("1ms")]`."""

    text: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def check(self, ns: int) -> int:
        if ns < parse_duration(self.text):
            raise ValueError(f"{format_duration(ns)} is too short; expected at least {self.text}")
        return ns


@dataclass(frozen=True, slots=True)
class MinSize:
    """The smallest size a field accepts: `Annotated[Size, MinSize("4KB")]`."""

    text: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def check(self, size: int) -> int:
        if size < parse_size(self.text):
            raise ValueError(f"{format_size(size)} is too small; expected at least {self.text}")
        return size
