"""Sampling rules as people write them, and whose a task has."""

from dataclasses import replace

from rover_core.config import parse_duration, parse_size
from rover_core.model import SamplingRule, Task
from rover_core.patterns import compile_pattern

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
