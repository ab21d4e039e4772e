"""The command `rover`. Light: the agent's own process imports what it shows from here, and no command."""


def main() -> None:
    """The console script."""
    from rover_core.cli.main import run_and_leave

    run_and_leave()
