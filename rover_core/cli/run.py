"""`rover run`: the agent."""

import json
import os
import sys

import click

from rover_core.commands import DURATION, Invocation, config_options, pass_invocation

_DURATION_HELP = "How long, e.g. 15, 90s, 10m; 0, the default, until Ctrl-C or SIGTERM."
_DEMO_HELP = "Start a small workload to look at. By default on an idle host, for a run with a --duration."


@click.command()
@click.option("--duration", "duration_ns", type=DURATION, default=0, metavar="D", help=_DURATION_HELP)
@click.option("--demo/--no-demo", default=None, help=_DEMO_HELP)
@config_options
@pass_invocation
def run(invocation: Invocation, duration_ns: int, demo: bool | None) -> None:
    """Run the agent until it is told to stop.

    Without a plugin that brings tasks it stands alone: it profiles every process of this host on CPU, keeps the
    results where the installed exporters keep them, and ends with a table of the hottest functions.

    \b
    Examples:
      rover run --duration 15            look around for 15 seconds
      rover run -c /etc/rover.yaml       as a service
      rover run --duration 15 --demo     with something to see on an idle machine
    """
    order = {
        "config": None if invocation.config is None else str(invocation.config),
        "overrides": invocation.overrides,
        "duration_ns": duration_ns,
        "demo": demo,
    }
    # The agent runs for weeks: it begins anew, without the command line's 5 MB. -P: no module comes from the folder
    # that it happens to be started in.
    command = [sys.executable, "-P", "-m", "rover_core.cli.service", json.dumps(order)]
    os.execv(sys.executable, command)
