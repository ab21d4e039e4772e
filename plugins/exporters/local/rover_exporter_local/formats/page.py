"""What all pages have in common: one file, its parts (`assets/`) inlined, that fetches nothing.

Names come from other people's binaries and from the network, so nothing of them reaches a page as markup: the data is
JSON in blocks browsers do not run, with every `<` escaped, and a content security policy lets only the one script run
whose digest it names.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from rover_exporter_local.text import encodable

_HALF_PAIR = re.compile("[\ud800-\udfff]")


def make_page(
    title: str, main: str, data: Mapping[str, Any], *, scripts: Sequence[str], styles: Sequence[str], top: str = ""
) -> bytes:
    """A page. main, top: markup. data: for the script, by the identifiers of its blocks. scripts, styles: assets."""
    script, style = ("".join(map(asset, names)) for names in (scripts, styles))
    blocks = (
        f'<script type="application/json" id="{name}">{_embeddable(each)}</script>' for name, each in data.items()
    )
    page = filled(
        "page.html",
        policy=f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; img-src data:",
        title=safe(title),
        top=top,
        main=main,
        style=style,
        script=script,
        data="".join(blocks),
    )
    return page.encode()


def safe(text: str) -> str:
    """Anything, as it may stand in markup."""
    return escape(encodable(text))


def filled(name: str, **words: str) -> str:
    """An asset with its placeholders replaced."""
    return Template(asset(name)).substitute(words)


def asset(name: str) -> str:
    """An asset's text."""
    return (files("rover_exporter_local") / "assets" / name).read_text("utf-8")


def _digest(inline: str) -> str:
    return f"'sha256-{b64encode(sha256(inline.encode()).digest()).decode()}'"


def _embeddable(data: Any) -> str:
    # A half of a surrogate pair is no character: escaped once more, the page shows the escape.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return _HALF_PAIR.sub(lambda half: f"\\\\u{ord(half[0]):x}", text).replace("<", "\\u003c")
