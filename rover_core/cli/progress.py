"""Progress of something that takes a known time (or lasts until Ctrl-C): a bar on a terminal, nothing in a pipe."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

_REFRESH_S = 0.2


@asynccontextmanager
async def progress(what: str, duration_ns: int | None, count: Callable[[], str]) -> AsyncIterator[None]:
    """Show `what`, the time gone and `count()` on stderr while the block runs, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    shown = asyncio.create_task(_show(what, duration_ns, count))
    try:
        yield
    finally:
        shown.cancel()
        await asyncio.gather(shown, return_exceptions=True)


async def _show(what: str, duration_ns: int | None, count: Callable[[], str]) -> None:
    # Rich is imported for people only: an agent that runs as a service never pays for it.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[count]}"),
    )
    total = duration_ns / 1e9 if duration_ns else None
    start = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        row = bar.add_task(what, total=total, count="")
        while True:
            bar.update(row, completed=time.monotonic() - start, count=count())
            await asyncio.sleep(_REFRESH_S)
