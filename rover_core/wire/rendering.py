"""What turning sampled messages into text has in common, whatever the protocol."""

import codecs
import re
import zlib
from dataclasses import dataclass, field

from rover_core.wire.redaction import Redaction

LONGEST_TEXT = 1 << 20
"""Bytes of a message's text where a rule sets no limit: what a backend's gRPC takes, with room to spare."""

# Those of Python's that browsers and servers know. Of the others some are no encodings of text, and some are slow.
_KNOWN = re.compile(
    r"utf-(?:8|16|16-le|16-be|32|32-le|32-be)(?:-sig)?|ascii|iso8859-\d+|cp\d+|koi8-[rut]|mac-\w+|tis-620|hz|johab"
    r"|gbk|gb2312|gb18030|big5(?:hkscs)?|euc_(?:jp|kr|jis_2004|jisx0213)|iso2022_(?:jp\w*|kr)|shift_jis\w*|ptcp154"
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
    return name if _KNOWN.fullmatch(name) else None


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
