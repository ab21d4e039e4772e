"""Flame graphs as one HTML file that needs nothing else: no network, no server.

The page's parts (`assets/`) are inlined when it is written. Names come from other people's binaries, so nothing of
them reaches the page as markup: the data is JSON in blocks browsers do not run, with every `<` escaped, and a
content security policy lets only the one script run whose digest it names, and nothing be fetched.
"""

from __future__ import annotations

import json
import platform
import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template
from typing import Any, BinaryIO

from rover_core.model import Profile
from rover_exporter_local.formats.panel import Panel, make_panel
from rover_exporter_local.text import encodable

_SCRIPTS = ("tree.js", "canvas.js", "panel.js", "page.js")
_HALF_PAIR = re.compile("[\ud800-\udfff]")


class Html:
    """`.html`, drawn by the first sample type; colours tell time spent waiting (cool) from all else (warm).

    Several profiles together are side by side, each with controls of its own, and searched together.
    """

    name = "html"
    extension = "html"
    binary = False
    description = "flame graph"

    def write(self, profile: Profile, out: BinaryIO) -> None:
        self.write_together([profile], out)

    def write_together(self, profiles: Sequence[Profile], out: BinaryIO) -> None:
        script, style = "".join(map(_asset, _SCRIPTS)), _asset("flamegraph.css")
        panels, title = [make_panel(profile) for profile in profiles], escape(encodable(_title(profiles)))
        page = _filled(
            "flamegraph.html",
            policy=f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; img-src data:",
            title=title,
            top=_filled("top.html", title=title, **_shared(True)) if len(panels) > 1 else "",
            panels="".join(_section(n, profiles, panel) for n, panel in enumerate(panels)),
            style=style,
            script=script,
            data="".join(
                f'<script type="application/json" id="data{_suffix(n)}">{_embeddable(panel.data)}</script>'
                for n, panel in enumerate(panels)
            ),
        )
        out.write(page.encode())


def _section(number: int, profiles: Sequence[Profile], panel: Panel) -> str:
    alone = len(profiles) == 1
    title = escape(encodable(_title(profiles) if alone else _kind(profiles[number])))
    heading = "h1" if alone else "h2"
    words = {**panel.words, "title": title, "heading": heading, "suffix": _suffix(number)}
    return _filled("panel.html", **words, **_shared(alone))


def _shared(here: bool) -> dict[str, str]:
    """What a page has once: in its only panel, or above all panels."""
    names = {"search": "search.html", "help_button": "help-button.html", "help": "help.html"}
    return {name: _asset(asset) if here else "" for name, asset in names.items()}


def _suffix(number: int) -> str:
    """Keeps the identifiers of the second panel and those after it apart."""
    return f"-{number + 1}" if number else ""


def _filled(asset: str, **words: str) -> str:
    return Template(_asset(asset)).substitute(words)


def _asset(name: str) -> str:
    return (files("rover_exporter_local") / "assets" / name).read_text("utf-8")


def _digest(inline: str) -> str:
    return f"'sha256-{b64encode(sha256(inline.encode()).digest()).decode()}'"


def _embeddable(data: dict[str, Any]) -> str:
    # A half of a surrogate pair is no character: escaped once more, the page shows the escape.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return _HALF_PAIR.sub(lambda half: f"\\\\u{ord(half[0]):x}", text).replace("<", "\\u003c")


def _kind(profile: Profile) -> str:
    return profile.profiler.replace("_", " ")


def _title(profiles: Sequence[Profile]) -> str:
    host = profiles[0].attributes.get("host") or platform.node()
    return f"{' and '.join(map(_kind, profiles))} on {host}"
