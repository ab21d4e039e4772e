"""What the scanner's expressions may read (contract section 3.2): `.Rover`, `.Process` and `.Finder`."""

from typing import NamedTuple

from rover_core.expressions import Member, Vocabulary
from rover_core.identity.vocabulary import ROVER, process_vocabulary


class Finder(NamedTuple):
    """The entry that matched. groups: the whole match, then its groups."""

    layer: str
    groups: tuple[str, ...]


def _group(finder: Finder, number: int) -> str:
    """ "" for a group that the expression does not have."""
    return finder.groups[number] if 0 <= number < len(finder.groups) else ""


_FINDER = {"Layer": Member(lambda finder: finder.layer), "RegexMatchGroup": Member(_group, (int,))}


def vocabulary(*, redacted: bool = True) -> Vocabulary:
    """redacted: whether secrets in `.Process.CommandLine` are."""
    return {"Rover": ROVER, "Process": process_vocabulary(redacted=redacted), "Finder": _FINDER}
