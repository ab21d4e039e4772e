"""Bodies of HTTP messages, of any version, as text (contract section 5.7)."""

import re
from collections.abc import Mapping

from rover_core.wire.rendering import Rendering, encoding_of, inflate

_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]{1,40})", re.IGNORECASE)
_IDENTITY = ("", "identity")
_MOST_CODINGS = 3


def render_body(headers: Mapping[str, str], body: bytes, rendering: Rendering, most: int) -> str:
    """A body as text without its secrets, of about `most` bytes.

    headers: by lower-case name. body: without its transfer coding; its end may be missing. What is not plain text is
    named instead; plain is `text/...` and `application/json`, whatever its parameters. Without a type it is taken
    for text in the default encoding.
    """
    if not body or most <= 0:
        return ""
    content_type = headers.get("content-type", f"text/html; charset={rendering.encoding}")
    kind = content_type.partition(";")[0].strip().lower()
    if not kind.startswith("text/") and kind != "application/json":
        return f"[not plain, current content type: {rendering.redaction.query(content_type)}]"
    coding = headers.get("content-encoding", "")
    data = _decode(body, coding, most)
    if data is None:
        return f"[not plain, current content encoding: {rendering.redaction.query(coding)}]"
    charset = _CHARSET.search(content_type)
    encoding = (charset and encoding_of(charset[1])) or encoding_of(rendering.encoding) or "utf-8"
    text = data[:most].decode(encoding, "replace")
    if "\0" in text:
        return "[not plain, in spite of its content type]"
    return rendering.redaction.members(text)


def _decode(body: bytes, coding: str, most: int) -> bytes | None:
    names = [name for each in coding.split(",") if (name := each.strip().lower()) not in _IDENTITY]
    if len(names) > _MOST_CODINGS:
        return None
    data: bytes | None = body
    for name in reversed(names):
        data = inflate(data, name, most) if data is not None else None
    return data
