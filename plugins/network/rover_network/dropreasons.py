"""The names of the kernel's reasons for dropping a packet, whose numbers differ from kernel to kernel.

They are in the tracepoint's own description (events/skb/kfree_skb/format), since 5.17.
"""

import re
from collections.abc import Mapping
from functools import cache

from rover_bpf.tracefs import tracefs
from rover_core.errors import RoverError

_PAIR = re.compile(r'\{ *(\d+), *"(?:SKB_DROP_REASON_)?(\w+)" *\}')


@cache
def drop_reasons() -> Mapping[int, str]:
    """Number -> name in lower case; empty where the kernel does not tell."""
    try:
        text = (tracefs() / "events/skb/kfree_skb/format").read_text()
    except (OSError, RoverError):
        return {}
    return parse_reasons(text)


def parse_reasons(text: str) -> Mapping[int, str]:
    """Out of the `print fmt` of a tracepoint's description."""
    return {int(number): name.lower() for number, name in _PAIR.findall(text)}


def not_specified() -> int:
    """Up to this number a packet was freed for no reason that is told: consumed, or not dropped at all."""
    named = [number for number, name in drop_reasons().items() if name == "not_specified"]
    return named[0] if named else 2  # include/net/dropreason-core.h since 6.8
