"""Errors a person reads: what went wrong, why, and what to do about it.

Anything a user, a host or a configuration can cause is a `RoverError`; the command line prints its three
parts as one clear sentence each and exits with `exit_status`. Everything else is a bug and may show a traceback.
"""

from typing import ClassVar


class RoverError(Exception):
    """A failure with its reason and its remedy (exit status 1).

    what: the thing that failed, named; why: the reason, as precise as it is known; remedy: what to do next.
    """

    exit_status: ClassVar[int] = 1

    def __init__(self, what: str, *, why: str = "", remedy: str = "") -> None:
        super().__init__(what, why, remedy)
        self.what = what
        self.why = why
        self.remedy = remedy

    def __str__(self) -> str:
        reason = f": {self.why}" if self.why else ""
        return f"{self.what}{reason}{_joint(self.remedy)}{self.remedy}"


def _joint(remedy: str) -> str:
    # Commands (`pip install ...`) keep their small letter, so they cannot begin a sentence.
    return "" if not remedy else ". " if remedy[0].isupper() else "; "


class UsageError(RoverError):
    """What was asked for makes no sense: an option, an argument, a configuration value (exit status 2)."""

    exit_status: ClassVar[int] = 2
