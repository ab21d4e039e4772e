"""What a NETWORK task is to sample: the argument ExtensionConfigJSON (contract section 2.1)."""

import json
from collections.abc import Mapping
from typing import Any

from rover_core.model import SamplingRule
from rover_core.patterns import compile_pattern

_MOST_RULES = 100


def read_sampling(text: str) -> tuple[SamplingRule, ...]:
    """The rules; none for `null`. Raises ValueError for other JSON than the contract's, UsageError for an expression
    that RE2 does not take (it takes none whose time could grow faster than the text)."""
    try:
        extension = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"ExtensionConfigJSON is not JSON: {error}") from None
    if extension is None:
        return ()
    rules = _map(extension, "ExtensionConfigJSON").get("NetworkSamplings") or []
    if not isinstance(rules, list) or len(rules) > _MOST_RULES:
        raise ValueError(f"NetworkSamplings is not a list of up to {_MOST_RULES} rules")
    return tuple(_rule(_map(rule, "a rule of NetworkSamplings")) for rule in rules)


def _rule(rule: Mapping[str, Any]) -> SamplingRule:
    settings = _map(rule.get("Settings") or {}, "Settings")
    regex = rule.get("URIRegex")
    if regex is not None:
        if not isinstance(regex, str):
            raise ValueError(f"URIRegex is {regex!r}, not text")
        compile_pattern(regex, "URIRegex")
    duration_ms = _whole(rule, "MinDuration")
    return SamplingRule(
        uri_regex=regex,
        min_duration_ns=None if duration_ms is None else duration_ms * 1_000_000,
        when_4xx=_flag(rule, "When4xx"),
        when_5xx=_flag(rule, "When5xx"),
        attach_request=_flag(settings, "RequireCompleteRequest"),
        max_request_size=_size(settings, "MaxRequestSize"),
        attach_response=_flag(settings, "RequireCompleteResponse"),
        max_response_size=_size(settings, "MaxResponseSize"),
    )


def _map(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {str(value)[:40]!r}, not a map")
    return value


def _whole(rule: Mapping[str, Any], name: str) -> int | None:
    value = rule.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise ValueError(f"{name} is {str(value)[:40]!r}, not a whole number")


def _size(settings: Mapping[str, Any], name: str) -> int | None:
    """Nothing, 0 and less mean all of it."""
    size = _whole(settings, name)
    return size if size and size > 0 else None


def _flag(rule: Mapping[str, Any], name: str) -> bool:
    value = rule.get(name, False)
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"{name} is {str(value)[:40]!r}, not true or false")
    return bool(value)
