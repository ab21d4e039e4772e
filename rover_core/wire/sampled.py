"""What sampling needs of a protocol, and what one has that says nothing of it. Workers find these by their names."""

from collections.abc import Callable
from typing import Any, Protocol

from rover_core.model import TraceContext
from rover_core.wire.records import Exchange, Message
from rover_core.wire.rendering import Rendering

Render = Callable[[Message[Any], Rendering], str]


class Sampleable(Protocol):
    """Whose exchanges can be sampled, with what `rover_core.api.WireProtocol` says of each."""

    @property
    def label(self) -> str: ...

    @property
    def trace(self) -> Callable[[Exchange], TraceContext | None]: ...

    @property
    def subject(self) -> Callable[[Exchange], str]: ...

    @property
    def reason(self) -> Callable[[Exchange], str]: ...

    @property
    def render(self) -> Render | None: ...


def untraced(exchange: Exchange) -> TraceContext | None:
    """No protocol's requests are part of a trace unless it says so."""
    return None


def operation(exchange: Exchange) -> str:
    """What an exchange is about, if not something more telling: its operation."""
    return exchange.operation


def no_reason(exchange: Exchange) -> str:
    """No status is a reason of its own to sample an exchange."""
    return ""
