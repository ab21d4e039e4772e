"""Takes secrets out of text before it goes anywhere: values of headers, of query parameters and of JSON members.

Bytes are a stranger's and may be malformed on purpose, so what is ambiguous is taken for the secret: too much is
redacted rather than too little. Every function is linear in its text.
"""

import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote_plus

REDACTED = "[redacted]"

ALWAYS_SECRET = ("authorization", "cookie", "proxy-authorization", "set-cookie")
"""Headers whose values are redacted whatever is configured."""

SECRET_HEADERS = (
    "cookie2",
    "set-cookie2",
    "x-amz-security-token",
    "x-api-key",
    "x-auth-token",
    "x-csrf-token",
    "x-xsrf-token",
)
SECRET_PARAMETERS = (
    "access_token",
    "api_key",
    "auth",
    "client_secret",
    "id_token",
    "jwt",
    "key",
    "passwd",
    "password",
    "pwd",
    "refresh_token",
    "secret",
    "session",
    "session_id",
    "sig",
    "signature",
    "token",
    "x-amz-credential",
    "x-amz-security-token",
    "x-amz-signature",
)
"""The defaults of what is configurable."""

_QUERIES_ALONE = {"auth", "key", "session"}  # harmless members of JSON are called so too

# Percent-encoded any number of times, as in an address that is another's parameter.
_SEPARATOR = re.compile(r"([?&;#]|%(?:25)*(?:3[Ff]|26|3[Bb]|23))")
_EQUALS = re.compile(r"=|%(?:25)*3[Dd]")
# The second is bounded, for it may begin anywhere within itself.
_USER = re.compile(r"//[^/?#\s]*(?:@|%(?:25)*40)|(%(?:25)*2[Ff]){2}[^/?#\s]{0,512}(?:@|%(?:25)*40)")
_LINE = re.compile(r"\r\n|\n|\r")
_VERSION = re.compile(r" HTTP/[0-9.]*\Z")
_UNUSUAL = re.compile(r"[^!-9;-~]+")
_IN_NAME = re.compile(r"[\[\].]+")
_STRING = re.compile(
    r'"(?P<text>(?:[^"\\]|\\.)*+)(?P<end>"|\\?\Z)'
    r'(?:(?P<colon>\s*+:\s*+)(?P<value>"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[^\s,\[\]{}"]++))?',
    re.DOTALL,
)
_DECODINGS = 3
_LONGEST_NAME = 256


class Redaction:
    """What is secret. headers: names beside ALWAYS_SECRET; parameters: names in queries and of JSON members.

    Names are compared without regard to case, and to `-` or `_`.
    """

    def __init__(
        self, headers: Iterable[str] = SECRET_HEADERS, parameters: Iterable[str] = SECRET_PARAMETERS
    ) -> None:
        self._headers = frozenset(map(_normal, (*ALWAYS_SECRET, *headers)))
        self._parameters = frozenset(map(_normal, parameters))

    def is_secret_header(self, name: str) -> bool:
        return _normal(_UNUSUAL.sub("", name)) in self._headers

    def header(self, name: str, value: str) -> str:
        """The value of a header as it may be shown."""
        return REDACTED if self.is_secret_header(name) else self.query(value)

    def head(self, text: str) -> str:
        """A first line and header lines, whatever ends them. What continues a secret is secret too."""
        first, *rest = _LINE.split(text)
        version = _VERSION.search(first)
        at = version.start() if version else len(first)
        word, space, target = first[:at].partition(" ")
        lines = [f"{word}{space}{self.query(target)}{first[at:]}"]
        secret = lines[0].endswith(REDACTED)
        for line in rest:
            name, colon, value = line.partition(":")
            if colon and self.is_secret_header(name):
                line = f"{name}: {REDACTED}"
            elif secret and line and (not colon or line[0] in " \t"):
                line = f" {REDACTED}"
            else:
                line = f"{name}{colon}{self.query(value)}" if colon else self.query(line)
            secret = line.endswith(REDACTED)
            lines.append(line)
        return "\n".join(lines)

    def query(self, text: str) -> str:
        """An address, or whatever else has parameters. A secret one's value ends at the next `&` or with the text."""
        text = _without_user(text)
        if not _EQUALS.search(text):
            return text
        return "".join(self._pieces(_SEPARATOR.split(text)))

    def _pieces(self, parts: list[str]) -> Iterator[str]:
        """parts: piece, separator, piece, ..."""
        secret = False
        for at, part in enumerate(parts):
            if at % 2:
                secret = secret and part != "&"
                if not secret:
                    yield part
            elif not secret:
                equals = _EQUALS.search(part)
                secret = bool(equals and self._is_secret_parameter(part[: equals.start()]))
                yield f"{part[: equals.end()]}{REDACTED}" if secret and equals else part

    def _is_secret_parameter(self, name: str) -> bool:
        """`token`, `%74oken`, `user[token]`."""
        return any(_normal(part) in self._parameters for part in _IN_NAME.split(_decoded(name[-_LONGEST_NAME:])))

    def members(self, text: str) -> str:
        """JSON, of which the end may be missing: members of secret names whose values are no maps or lists.

        Strings are taken for addresses, so of other text in quotes those lose their secrets too.
        """
        return _STRING.sub(self._member, text)

    def _member(self, match: "re.Match[str]") -> str:
        text, end, colon, value = match.groups()
        if not colon:
            return f'"{self.query(text)}{end}'
        name = _normal(_json_text(text))
        if (name in self._parameters and name not in _QUERIES_ALONE) or name in self._headers:
            return f'"{text}"{colon}"{REDACTED}"'
        inner = value[1:].removesuffix('"')
        return f'"{text}"{colon}"{self.query(inner)}{value[1 + len(inner) :]}' if value[0] == '"' else match[0]


def _normal(name: str) -> str:
    """`API-Key`, `api_key` and `apiKey` are one."""
    return name.strip().lower().replace("_", "").replace("-", "")


def _decoded(name: str) -> str:
    for _ in range(_DECODINGS):
        if "%" not in name and "+" not in name:
            break
        name = unquote_plus(name)
    return name


def _json_text(escaped: str) -> str:
    if "\\" not in escaped:
        return escaped
    try:
        return str(json.loads(f'"{escaped}"', strict=False))
    except ValueError:
        return escaped


def _without_user(text: str) -> str:
    """`http://user:password@host/` without what stands before the host."""
    return _USER.sub(lambda match: f"{match[1] or '//'}{REDACTED}@", text) if "@" in text or "40" in text else text
