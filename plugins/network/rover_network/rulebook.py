"""Sampling rules as they are looked up for each exchange (contract sections 2.1 and 5.6). For workers, too."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rover_core.model import SamplingRule
from rover_core.patterns import compile_pattern
from rover_core.wire.rendering import LONGEST_TEXT

SLOW, ERROR = "slow", "error"
_FLAGS = {"status_4xx": "when_4xx", "status_5xx": "when_5xx"}
_REMEMBERED = 1024  # subjects, each of up to so many characters
_LONGEST = 1024


class Attach(NamedTuple):
    """Bytes of text wanted of each message; 0 for none of it."""

    request: int
    response: int


def content_size(rules: Iterable[SamplingRule]) -> int:
    """Bytes of each message that have to be kept for these rules: what `Limits.content` should be."""
    sizes = [
        (_size(r.attach_request, r.max_request_size), _size(r.attach_response, r.max_response_size)) for r in rules
    ]
    return max((max(pair) for pair in sizes), default=0)


def _size(attached: bool, limit: int | None) -> int:
    return min(limit or LONGEST_TEXT, LONGEST_TEXT) if attached else 0


class RuleBook:
    """The rules of one task. Raises UsageError for an expression that is none.

    Of the rules whose expression matches an exchange's subject the last applies to it (contract section 5.6); where
    none matches, those without one do, and any of these may ask: what several ask for is attached as the one says
    that wants most of it.
    """

    def __init__(self, rules: Sequence[SamplingRule]) -> None:
        self.rules = tuple(rules)
        self._others = [rule for rule in rules if rule.uri_regex is None]
        matching = [(compile_pattern(r.uri_regex, "uri"), r) for r in rules if r.uri_regex is not None]
        self._last_first = matching[::-1]
        durations = [rule.min_duration_ns for rule in rules if rule.min_duration_ns is not None]
        self.slow_from_ns = min(durations, default=1 << 63)
        """No exchange is slow that took less."""
        self._applying: dict[str, Sequence[SamplingRule]] = {}

    def applying(self, subject: str) -> Sequence[SamplingRule]:
        """The rules for an exchange of this subject."""
        if not self._last_first:
            return self._others
        known = self._applying.get(subject)
        if known is None:
            known = next(([rule] for pattern, rule in self._last_first if pattern.matches(subject)), self._others)
            if len(self._applying) >= _REMEMBERED:
                self._applying.clear()
            if len(subject) <= _LONGEST:
                self._applying[subject] = known
        return known


def reason_of(rules: Sequence[SamplingRule], status: str, error: bool, duration_ns: int) -> str:
    """What these rules sample an exchange for: its status, an error, or that it is slow, in this order.

    "" for nothing. status: the protocol's own reason (`status_5xx`).
    """
    if (status or error) and asking(rules, status or ERROR, error, duration_ns):
        return status or ERROR
    return SLOW if asking(rules, SLOW, error, duration_ns) else ""


def asking(rules: Iterable[SamplingRule], reason: str, error: bool, duration_ns: int) -> list[SamplingRule]:
    """Those of the rules that ask for an exchange for this reason."""
    if reason == SLOW:
        return [r for r in rules if r.min_duration_ns is not None and duration_ns >= r.min_duration_ns]
    flag = _FLAGS.get(reason, "when_error")
    return [rule for rule in rules if getattr(rule, flag) or (error and rule.when_error)]


def attachments(rules: Sequence[SamplingRule]) -> Attach:
    """What these rules want attached, the most that any of them wants."""
    return Attach(
        max(_size(rule.attach_request, rule.max_request_size) for rule in rules),
        max(_size(rule.attach_response, rule.max_response_size) for rule in rules),
    )
