"""Messages as text: what was asked of which topics, and with which outcome. Records are never opened."""

from rover_core.wire import Message, Rendering
from rover_core.wire.rendering import shorten
from rover_kafka.connection import Answer, error_name, topics_of
from rover_kafka.plans import APIS, Found
from rover_kafka.readers import Request


def render_message(message: Message[Request] | Message[Answer], rendering: Rendering) -> str:
    detail = message.detail
    if isinstance(detail, Request):
        api = APIS.get(detail.key)
        lines = [f"{api.name if api else f'Api{detail.key}'} v{detail.version}, client {detail.client or 'unknown'}"]
        found: Found | None = detail.found
    else:
        found = detail.found
        lines = ["not understood" if found is None else ", ".join(map(error_name, found.errors or [0]))]
    return shorten("\n".join([*lines, *(_facts(found) if found else ())]), rendering.most)


def _facts(found: Found) -> list[str]:
    topics = topics_of(found)
    facts = (
        ("topics", ", ".join(topics)),
        ("group", found.group),
        ("bytes of records", found.record_bytes or ""),
        ("acks", found.acks if found.acks >= 0 else ""),
        ("may wait, ms", found.wait_ms if found.wait_ms >= 0 else ""),
        ("throttled, ms", found.throttle_ms if found.throttle_ms > 0 else ""),
    )
    return [f"{name}: {value}" for name, value in facts if value != ""]
