"""What the versions of HTTP have in common: names of operations and what counts as an error (RFC 9110)."""

import re
from functools import lru_cache

from rover_core.wire.records import Exchange

_RFC_9110 = {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}
_WEBDAV = {
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "REPORT",
    "SEARCH",
    "ACL",
    "MKCALENDAR",
}

METHODS = frozenset(_RFC_9110 | _WEBDAV)
"""Methods with names of their own in metrics; the others are OTHER_METHOD, since a client may invent any number."""

OTHER_METHOD = "OTHER"
SERVER_ERROR = 500
"""Statuses from here on are errors. 4xx is the client's doing, and is what `status` is for (contract section 3.6)."""

_REASONS = {"4": "status_4xx", "5": "status_5xx"}
_SEGMENTS = 8
_LONG = 40
_VALUE = re.compile(
    r"[0-9]+"  # a number
    r"|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"  # a UUID
    r"|(?=[^0-9]*[0-9])[0-9a-fA-F]{8,}"  # a hash
    r"|(?=(?:[^0-9]*[0-9]){3})[0-9A-Za-z_~=-]{16,}"  # a token
    r"|[^/]*[@:%,;=*][^/]*"  # an address, a list, something quoted
)


def operation_class(method: str) -> str:
    """The method, if it is one of METHODS."""
    return method if method in METHODS else OTHER_METHOD


@lru_cache(maxsize=4096)
def operation(method: str, path: str) -> str:
    """`GET /users/{}/orders`: the method and the path with `{}` for what is likely a value.

    path: a request target without its query. Targets of other forms (`http://host/path`, `host:port`, `*`) are
    reduced to what the same request would have had in the usual form, as far as they have one. At most eight segments
    are told apart.
    """
    scheme, _, rest = path.partition("://")
    if rest and scheme.isalpha():
        path = "/" + rest.partition("/")[2]
    if not path.startswith("/"):
        return operation_class(method)
    segments = path.split("/", _SEGMENTS + 1)[1:]
    named = ["{}" if len(each) > _LONG or _VALUE.fullmatch(each) else each for each in segments[:_SEGMENTS]]
    return f"{operation_class(method)} /{'/'.join(named)}{'/...' if len(segments) > _SEGMENTS else ''}"


def status_reason(exchange: Exchange) -> str:
    """What an exchange is sampled for by its status (contract section 5.6): `status_4xx`, `status_5xx` or nothing."""
    return _REASONS.get(exchange.status[:1], "")
