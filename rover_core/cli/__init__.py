"""The command `rover`. Light: the agent's own process imports what it shows from here, and no command."""


def main() -> None:
    """The console script. Ctrl-C ends it without a traceback from its first import on."""
    try:
        from rover_core.cli.main import run_and_leave

        run_and_leave()
    except KeyboardInterrupt:
        raise SystemExit(128 + 2) from None
