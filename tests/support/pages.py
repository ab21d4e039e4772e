"""HTML pages as a browser sees them."""

import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

HOSTILE = "</title></script><script>alert(1)</script><img src=x onerror=alert(1)>"
CHROMIUM = shutil.which("chromium")


class Elements(html.parser.HTMLParser):
    """What a browser would see: tags with their attributes, and the text of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags:
            self.texts.setdefault(self.tags[-1][0], []).append(data)


def data_of(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def in_browser(page: str, address: str, tmp_path: Path) -> str:
    """What the script makes of the page."""
    path = tmp_path / "flames.html"
    path.write_text(page)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--dump-dom"]
    home = f"--user-data-dir={tmp_path / 'browser'}"
    command = [str(CHROMIUM), *flags, home, "--enable-logging=stderr", f"file://{path}#{address}"]
    result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert "CONSOLE" not in result.stderr, result.stderr
    return result.stdout
