"""What turning sampled messages into text has in common, whatever the protocol."""

import codecs
import re
import zlib
from dataclasses import dataclass, field

from rover_core.wire.redaction import Redaction

LONGEST_TEXT = 1 << 18
"""Bytes of a message's text where a rule sets no limit: what a ring of the default size carries."""

# Those of Python's that browsers know. Of the others some are no encodings of text, and some are slow.
_KNOWN = frozenset(
    (
        *("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "ascii"),
        *(f"iso8859-{part}" for part in range(1, 17) if part != 12),
        *(f"cp125{part}" for part in range(9)),
        *("cp437", "cp850", "cp852", "cp866", "cp874", "cp932", "cp949", "cp950", "koi8-r", "koi8-u", "mac-cyrillic"),
        *("mac-roman", "tis-620", "gbk", "gb2312", "gb18030", "big5", "big5hkscs", "euc_jp", "euc_kr"),
        *("iso2022_jp", "iso2022_kr", "shift_jis"),
    )
)
_LABEL = re.compile(r"[A-Za-z0-9._:+-]{1,40}")
_WBITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_RAW = -15  # what many send as deflate


@dataclass(frozen=True, slots=True)
class Rendering:
    """How a message is to become text.

    encoding: of bodies that do not say theirs. most: bytes of the text, in UTF-8.
    """

    redaction: Redaction = field(default_factory=Redaction)
    encoding: str = "utf-8"
    most: int = LONGEST_TEXT


def encoding_of(label: str) -> str | None:
    """Python's name of an encoding of text, by any of its names; None if it is not known."""
    if not _LABEL.fullmatch(label):
        return None
    try:
        name = codecs.lookup(label).name
    except (LookupError, OSError, ValueError):  # its module may be out of reach of a process without privileges
        return None
    return name if name in _KNOWN else None


def load_encodings() -> None:
    """Import the modules of all that are known (2 MB)."""
    for name in _KNOWN:
        codecs.lookup(name)


def inflate(data: bytes, coding: str, most: int) -> bytes | None:
    """At most that many bytes of what was compressed, the end of which may be missing.

    coding: `gzip` or `deflate` (RFC 9110 section 8.4.1). None for other codings, and for what is none of it.
    """
    wbits = _WBITS.get(coding)
    if wbits is None:
        return None
    for each in (wbits, _RAW) if coding == "deflate" else (wbits,):
        try:
            return zlib.decompressobj(each).decompress(data, most)
        except zlib.error:
            continue
    return None


def shorten(text: str, most: int) -> str:
    """The text, or as much of it as takes that many bytes in UTF-8."""
    if len(text) * 4 <= most:
        return text
    data = text[:most].encode(errors="replace")
    return data[:most].decode(errors="ignore") if len(data) > most else text[:most]
