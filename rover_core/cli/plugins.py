"""`rover plugins`: what is installed and what became of it."""

from dataclasses import asdict

import click

from rover_core.cli.output import print_columns, print_json
from rover_core.commands import Invocation, config_options, pass_invocation
from rover_core.plugins import PluginInfo, PluginState


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_options
@pass_invocation
def plugins(invocation: Invocation, as_json: bool) -> None:
    """List the installed plugins and what became of them.

    \b
    Examples:
      rover plugins
      rover plugins --json | jq '.[] | select(.state == "failed")'
      ROVER_DISABLED_PLUGINS=oncpu rover plugins
    """
    from rover_core.config.loading import disabled_plugins
    from rover_core.plugins import PluginManager

    manager = PluginManager.discover(disabled_plugins(file=invocation.config, overrides=invocation.overrides))
    manager.sections()  # the first hook of all: a plugin that fails at it is of no use either
    if as_json:
        print_json([asdict(plugin) for plugin in manager.plugins])
    elif manager.plugins:
        print_columns(("NAME", "DISTRIBUTION", "VERSION", "STATE", "HOOKS"), [_row(each) for each in manager.plugins])
        _print_failures(manager.plugins)
    else:
        click.echo("No plugin is installed. To start with: pip install 'rover-agent[host,oncpu,local]'")


def _row(plugin: PluginInfo) -> tuple[str, ...]:
    hooks = ", ".join(hook.removeprefix("rover_") for hook in plugin.hooks)
    return plugin.name, plugin.distribution, plugin.version, plugin.state, hooks


def _print_failures(plugins: list[PluginInfo]) -> None:
    for plugin in plugins:
        if plugin.state is PluginState.FAILED:
            click.echo(f"\n{plugin.name} ({plugin.distribution} {plugin.version}) failed: {plugin.reason}")
