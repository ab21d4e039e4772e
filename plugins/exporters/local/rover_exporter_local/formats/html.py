"""Flame graphs as one HTML file that needs nothing else: no network, no server."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import BinaryIO

from rover_core.model import Profile
from rover_exporter_local.formats.page import asset, filled, make_page, safe
from rover_exporter_local.formats.panel import Panel, make_panel

_SCRIPTS = ("words.js", "tree.js", "canvas.js", "panel.js", "page.js")


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
        panels = [make_panel(profile) for profile in profiles]
        title = _title(profiles)
        shared = filled("top.html", title=safe(title), **_shared(True)) if len(panels) > 1 else ""
        main = "".join(_section(n, title, profiles, panel) for n, panel in enumerate(panels))
        data = {f"data{_suffix(n)}": panel.data for n, panel in enumerate(panels)}
        out.write(make_page(title, main, data, scripts=_SCRIPTS, styles=["flamegraph.css"], top=shared))


def _section(number: int, title: str, profiles: Sequence[Profile], panel: Panel) -> str:
    alone = len(profiles) == 1
    title = safe(title if alone else _kind(profiles[number]))
    heading = "h1" if alone else "h2"
    words = {**panel.words, "title": title, "heading": heading, "suffix": _suffix(number)}
    return filled("panel.html", **words, **_shared(alone))


def _shared(here: bool) -> dict[str, str]:
    """What a page has once: in its only panel, or above all panels."""
    names = {"search": "search.html", "help_button": "help-button.html", "help": "help.html"}
    return {name: asset(file) if here else "" for name, file in names.items()}


def _suffix(number: int) -> str:
    """Keeps the identifiers of the second panel and those after it apart."""
    return f"-{number + 1}" if number else ""


def _kind(profile: Profile) -> str:
    return profile.profiler.replace("_", " ")


def _title(profiles: Sequence[Profile]) -> str:
    host = profiles[0].attributes.get("host") or platform.node()
    return f"{' and '.join(map(_kind, profiles))} on {host}"
