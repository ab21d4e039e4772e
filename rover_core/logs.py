"""The agent's own log: events as key-value pairs on stderr, for people or as JSON.

Modules take their logger from here, not from structlog, whose import brings rich with it where that is installed.
"""

import sys
from contextlib import suppress
from typing import Any


def _import_without_rich() -> None:
    """Import structlog as if rich were not installed: 4.5 MB less in an agent that shows no pretty traceback.

    structlog looks once, when imported. An entry None in sys.modules makes that look fail; the entry is taken away
    at once, so that whoever wants rich later gets it. Where rich is already imported nothing could be saved.
    """
    if "rich" in sys.modules:
        import structlog

        return
    sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        import structlog  # noqa: F401
    finally:
        del sys.modules["rich"]


_import_without_rich()

import structlog  # noqa: E402

_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}


class _Stderr:
    """Standard error as it is when something is logged. One that is full or closed must not stop the agent."""

    def write(self, text: str) -> None:
        if sys.stderr is not None:  # closed before the start: `2>&-`
            with suppress(OSError, ValueError):
                sys.stderr.write(text)

    def flush(self) -> None:
        if sys.stderr is not None:
            with suppress(OSError, ValueError):
                sys.stderr.flush()


def configure_logs(level: str = "INFO", style: str = "auto") -> None:
    """Log to stderr from `level` up. style: `json`, or lines for people (`console` and `auto`)."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *_renderers(style),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(_Stderr()),  # type: ignore[arg-type]  # as much of a file as it needs
        cache_logger_on_first_use=False,  # or tests and a changed level would have no effect
    )


def _renderers(style: str) -> list[structlog.typing.Processor]:
    if style == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    colors = sys.stderr.isatty()
    return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)]


def get_logger(name: str) -> Any:
    """A logger whose events carry `component=name`. Any: structlog's loggers make their methods up as they go."""
    return structlog.get_logger(component=name)
