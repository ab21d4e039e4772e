"""Regular expressions that come from outside (a configuration, a backend), over text that comes from outside.

RE2's: time is linear in the text whatever the expression, so none can hang the agent; and it is the syntax of Go's
`regexp`, for which existing configurations were written. There are no back-references and no look-around.
"""

from typing import Any

from rover_core.errors import UsageError

_MAX_LENGTH = 4096
_MAX_MEMORY = 1 << 20  # bytes of one expression, its cache of states included; RE2's own default is eight times that


class Pattern:
    """A compiled expression. text: as it was written."""

    __slots__ = ("_compiled", "text")

    def __init__(self, text: str, compiled: Any) -> None:
        self.text = text
        self._compiled = compiled

    def matches(self, subject: str) -> bool:
        """Whether it matches anywhere in the subject."""
        return self._search(subject) is not None

    def groups(self, subject: str) -> tuple[str, ...] | None:
        """The first match and its groups, "" for those that took no part; None if nothing matches."""
        match = self._search(subject)
        return None if match is None else (match.group(), *match.groups(default=""))

    def _search(self, subject: str) -> Any:
        return self._compiled.search(_encodable(subject))


def compile_pattern(text: str, place: str = "") -> Pattern:
    """Compile an expression. place: what it is, to begin the sentence of the error with: a key, an argument.

    Raises UsageError if it is none of RE2's (https://github.com/google/re2/wiki/Syntax), or too large.
    """
    place = f"{place}: " if place else ""
    if len(text) > _MAX_LENGTH:
        raise UsageError(f"{place}this regular expression is longer than {_MAX_LENGTH} characters")
    import re2  # 5 MB in memory, for those who have expressions

    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_MEMORY
    try:
        return Pattern(text, re2.compile(_encodable(text), options))
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise UsageError(f"{place}{text!r} is not a regular expression: {reason}") from None


def _encodable(text: str) -> str:
    """JSON may spell half of a pair (`\\ud800`), which is no text in UTF-8."""
    return text.encode(errors="replace").decode()
