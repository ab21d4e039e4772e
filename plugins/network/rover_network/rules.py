"""Sampling rules: written by people, and looked up for each exchange (contract sections 2.1 and 5.6)."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from rover_core.config import parse_duration, parse_size
from rover_core.model import SamplingRule, Task
from rover_core.patterns import compile_pattern
from rover_core.wire.rendering import LONGEST_TEXT

SLOW, ERROR = "slow", "error"
_FLAGS = {"status_4xx": "when_4xx", "status_5xx": "when_5xx"}
_REMEMBERED = 1024  # subjects, each of up to so many characters
_LONGEST = 1024
_TEXT = 16 << 10
_EXPECTED = "expected a list of slow>200ms, 4xx, 5xx, error, max=16KB and, as the last, uri~EXPRESSION"


def parse_rules(text: str) -> tuple[SamplingRule, ...]:
    """`slow>200ms,5xx; error,max=64KB,uri~^/api/`: rules between semicolons, what each is about between commas.

    Raises ValueError with a readable text, UsageError for an expression that is none. Messages are attached, up to
    16 KB of each unless `max=` says otherwise; `max=0` attaches none.
    """
    rules = tuple(_parse_rule(part.strip()) for part in text.split(";") if part.strip())
    if not rules:
        raise ValueError(f"{text!r} has no rule; {_EXPECTED}")
    return rules


def _parse_rule(text: str) -> SamplingRule:
    terms, tilde, expression = text.partition("uri~")
    size = _TEXT
    rule = SamplingRule(uri_regex=expression.strip() if tilde else None)
    for term in filter(None, (each.strip() for each in terms.split(","))):
        name, _, value = term.partition("=") if term.startswith("max") else term.partition(">")
        match name.strip(), value.strip():
            case "slow", duration if duration:
                rule = replace(rule, min_duration_ns=parse_duration(duration.removeprefix("=")))
            case "4xx", "":
                rule = replace(rule, when_4xx=True)
            case "5xx", "":
                rule = replace(rule, when_5xx=True)
            case "error", "":
                rule = replace(rule, when_error=True)
            case "max", limit if limit:
                size = parse_size(limit)
            case _:
                raise ValueError(f"{term!r} is not understood; {_EXPECTED}")
    if not (rule.when_4xx or rule.when_5xx or rule.when_error or rule.min_duration_ns is not None):
        raise ValueError(f"{text!r} does not say what to sample; {_EXPECTED}")
    if rule.uri_regex is not None:
        compile_pattern(rule.uri_regex, "uri~")
    attached = size > 0
    return replace(
        rule,
        attach_request=attached,
        attach_response=attached,
        max_request_size=size or None,
        max_response_size=size or None,
    )


def rules_of(task: Task, otherwise: str) -> tuple[SamplingRule, ...]:
    """What a task is to sample: as its backend or its command line says, or else the setting of that text."""
    rules = task.settings.get("sampling") or task.settings.get("sample")
    return tuple(rules) if rules else parse_rules(otherwise) if otherwise.strip() else ()


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

    Rules whose expression matches an exchange's subject apply to it; where none matches, those without. Any of those
    that apply may ask for it: what is asked for by several is attached as the one says that wants most of it.
    """

    def __init__(self, rules: Sequence[SamplingRule]) -> None:
        self.rules = tuple(rules)
        self._others = [rule for rule in rules if rule.uri_regex is None]
        self._matching = [(compile_pattern(r.uri_regex, "uri"), r) for r in rules if r.uri_regex is not None]
        durations = [rule.min_duration_ns for rule in rules if rule.min_duration_ns is not None]
        self.slow_from_ns = min(durations, default=1 << 63)
        """No exchange is slow that took less."""
        self._applying: dict[str, Sequence[SamplingRule]] = {}

    def applying(self, subject: str) -> Sequence[SamplingRule]:
        """The rules for an exchange of this subject."""
        if not self._matching:
            return self._others
        known = self._applying.get(subject)
        if known is None:
            known = [rule for pattern, rule in self._matching if pattern.matches(subject)] or self._others
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
