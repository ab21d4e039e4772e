"""Orders to profile."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rover_core.model.processes import ProcessKey


@dataclass(frozen=True, slots=True)
class Task:
    """An order to profile.

    profiler: name of the profiler (ON_CPU, OFF_CPU, NETWORK or a third party's).
    processes: which processes; None means every process of the host.
    start_ns: wall-clock time to start at; 0 or the past means at once.
    duration_ns: how long, from the actual start; None means until cancelled.
    settings: overrides of the profiler's own settings for this task alone.
    trigger: who ordered it (`command line`, `configuration`, a backend's name, a continuous policy).
    attributes: what all of its batches are to say, beside what the profiler says of them.
    """

    id: str
    profiler: str
    processes: tuple[ProcessKey, ...] | None = None
    start_ns: int = 0
    duration_ns: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    trigger: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SamplingRule:
    """Which exchanges a NETWORK task is to sample, and what to attach (contract section 2.1).

    `Task.settings["sampling"]` holds a tuple of them. uri_regex: searched in the request's path, in RE2's syntax
    (`rover_core.patterns`), or in what else the protocol has of the kind; None is the rule for all that no other
    matches. min_duration_ns: from which duration an exchange is slow; None for never. when_4xx, when_5xx: of HTTP;
    when_error: what any protocol calls an error. max_*_size: bytes of text, None for all of it.
    """

    uri_regex: str | None = None
    min_duration_ns: int | None = None
    when_4xx: bool = False
    when_5xx: bool = False
    attach_request: bool = False
    max_request_size: int | None = None
    attach_response: bool = False
    max_response_size: int | None = None
    when_error: bool = False
