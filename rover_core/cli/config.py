"""`rover config`: check a file, show what is in effect, and what there is."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rover_core.cli.output import print_json
from rover_core.commands import Invocation, config_options, pass_invocation

if TYPE_CHECKING:  # costs 0.2 s to import
    from rover_core.config.loading import LoadedSettings


_HEADER = """\
# Every setting with its default. `${NAME:default}` is the environment variable NAME where that is set and not empty.
# Whatever is left out has the same default. Made by `rover config example`.
"""


@click.group()
def config() -> None:
    """Check a configuration; show the effective settings, or all there are.

    \b
    Examples:
      rover config check rover.yaml
      rover config show --set profiling.flush_interval=2s
    """


@config.command()
@click.argument("file", type=click.Path(path_type=Path))
@pass_invocation
def check(invocation: Invocation, file: Path) -> None:
    """Check a configuration FILE. Prints OK, or every problem and exits with status 2.

    \b
    Examples:
      rover config check rover.yaml
      rover config check /etc/rover/rover.yaml && systemctl restart rover
    """
    invocation.config = file
    _load(invocation)
    click.echo(f"{file}: OK")


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the tree, and the origin of every setting.")
@config_options
@pass_invocation
def show(invocation: Invocation, as_json: bool) -> None:
    """Show the effective settings and where each came from. The output is a configuration file.

    \b
    Examples:
      rover config show
      rover config show -c rover.yaml --set profiling.flush_interval=2s
      ROVER_LOGGER_LEVEL=debug rover config show --json
    """
    settings = _load(invocation)
    if as_json:
        print_json({"settings": settings.tree(), "origins": settings.origins()})
    else:
        click.echo("\n".join(_lines(settings.tree(), settings.origins(), "", 0)))


@config.command()
@pass_invocation
def example(invocation: Invocation) -> None:
    """Print a configuration file with every setting. Of what is installed: default, variable, and what it is for.

    \b
    Examples:
      rover config example > rover.yaml
    """
    from rover_core.config.example import example as write_example

    plugins, _ = invocation.load_quietly()
    click.echo(_HEADER + write_example(plugins.sections()), nl=False)


def _load(invocation: Invocation) -> "LoadedSettings":
    _, settings = invocation.load_quietly()
    for warning in settings.warnings:
        click.echo(f"warning: {warning}", err=True)
    return settings


def _lines(tree: Mapping[str, Any], origins: Mapping[str, str], path: str, depth: int) -> Iterator[str]:
    """YAML, one setting a line, its origin as a comment. A map that has an origin is a single setting."""
    for key, value in tree.items():
        place = f"{path}.{key}".removeprefix(".")
        if place in origins:
            yield f"{'  ' * depth}{key}: {_inline(value)}".ljust(44) + f"  # {origins[place]}"
        else:
            yield f"{'  ' * depth}{key}:"
            yield from _lines(value, origins, place, depth + 1)


def _inline(value: Any) -> str:
    import yaml

    text: str = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
