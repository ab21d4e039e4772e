"""Java's .properties files (java.util.Properties.load), as SkyWalking agents write them."""

import re
from collections.abc import Iterator

# A backslash at the end of a line joins the next; its leading blanks do not count.
_JOINT = re.compile(r"(?<!\\)((?:\\\\)*)\\(?:\r\n|\r|\n)[ \t\f]*")
_PAIR = re.compile(r"((?:\\.|[^\\=:\s])*)[ \t\f]*[=:]?[ \t\f]*(.*)", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_NAMED = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def parse_properties(text: str) -> dict[str, str]:
    """Keys and values; the last of equal keys counts. Nothing is a mistake in this format."""
    return dict(_pairs(text))


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for line in re.split(r"\r\n|\r|\n", _JOINT.sub(r"\1", text)):
        line = line.lstrip(" \t\f")
        if line and line[0] not in "#!" and (match := _PAIR.fullmatch(line)):
            yield _plain(match[1]), _plain(match[2])


def _plain(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else _NAMED.get(match[2], match[2]), text)
