"""Plain text for terminals and pipes alike."""

import json
import shutil
import sys
from collections.abc import Sequence
from typing import Any

import click


def print_columns(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows under a header, columns aligned. On a terminal lines are cut to its width; in a pipe nothing is lost."""
    table = [[_printable(str(cell)) for cell in row] for row in (header, *rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for row in table:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip()[:limit])


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))


def _printable(text: str) -> str:
    """A process may call itself anything: no newline or escape sequence reaches the terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)
