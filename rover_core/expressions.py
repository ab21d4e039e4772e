"""The expressions that name services, instances and processes: `{{.Pod.Name}}-{{.Rover.HostIPV4 "eth0"}}`.

A small part of Go's text/template, as configurations for SkyWalking's agent use it (contract section 3.2): fields of
the context with or without arguments, the functions below, strings, whole numbers, true and false, parentheses.
There are no variables, loops, conditions or pipelines. What an expression may read is a vocabulary that the caller
gives; nothing else can be reached. Names and arguments are checked when it is compiled.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rover_core.errors import UsageError

MAX_RESULT = 1024
"""Characters of a rendered text; what is beyond is cut, since a process may call itself anything at any length."""
_MAX_TEXT = 4096
_MAX_DEPTH = 16

Value = str | int | bool


@dataclass(frozen=True, slots=True)
class Member:
    """Something an expression may read of a subject: `read(subject, *arguments)`, with arguments of these types."""

    read: Callable[..., Value]
    parameters: tuple[type, ...] = ()


Vocabulary = Mapping[str, Mapping[str, Member]]
"""What may be read: {"Process": {"Pid": Member(...)}} for `.Process.Pid`."""

Subjects = Mapping[str, Any]
"""What it is read of: {"Process": process}."""


class ExpressionError(UsageError):
    """An expression that makes no sense, or, from `render` and `test`, none for these subjects."""


_Evaluate = Callable[[Subjects], Value]


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled text with `{{expressions}}` in it."""

    text: str
    _parts: tuple[str | _Evaluate, ...]

    def render(self, subjects: Subjects) -> str:
        """The text with the expressions' values, at most `MAX_RESULT` characters. ExpressionError if one has none."""
        parts = (part if isinstance(part, str) else _printed(part(subjects)) for part in self._parts)
        return "".join(part[:MAX_RESULT] for part in parts)[:MAX_RESULT]


@dataclass(frozen=True, slots=True)
class Filter:
    """A compiled condition: `eq .Container.Name "istio-proxy"`, without braces."""

    text: str
    _template: Template

    def test(self, subjects: Subjects) -> bool:
        """Whether it holds. ExpressionError if its value is not a boolean."""
        printed = self._template.render(subjects)
        if printed not in ("true", "false"):
            raise ExpressionError(f"the filter {self.text!r} gives {printed!r}, not true or false")
        return printed == "true"


def compile_template(text: str, vocabulary: Vocabulary, place: str = "") -> Template:
    """Compile a text with `{{expressions}}`. place: what it is, to begin errors with: a key.

    Raises ExpressionError.
    """
    place = f"{place}: " if place else ""
    if len(text) > _MAX_TEXT:
        raise ExpressionError(f"{place}this expression is longer than {_MAX_TEXT} characters")
    return Template(text, tuple(_Parser(text, vocabulary, place).parts()))


def compile_filter(text: str, vocabulary: Vocabulary, place: str = "") -> Filter:
    """Compile a condition. place: what it is, to begin errors with: a key. Raises ExpressionError."""
    return Filter(text, compile_template(f"{{{{{text}}}}}", vocabulary, place))


_TOKEN = re.compile(
    r"""\s*(?:(?P<end>\}\})|(?P<string>"(?:[^"\\\n]|\\.)*")|(?P<raw>`[^`]*`)|(?P<number>[+-]?\d{1,18}(?![\w.]))
    |(?P<field>\.\w+(?:\.\w+)*)|(?P<name>[A-Za-z_]\w*)|(?P<open>\()|(?P<close>\)))""",
    re.VERBOSE | re.ASCII,
)
_ESCAPE = re.compile(r"\\(?:([abfnrtv\\'\"])|x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|([0-7]{3}))")
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class _Token(NamedTuple):
    kind: str
    text: str
    position: int


class _Operand(NamedTuple):
    """constant: of a literal, whose type is known before anything is evaluated."""

    evaluate: _Evaluate
    constant: Value | None = None


@dataclass(slots=True)
class _Parser:
    text: str
    vocabulary: Vocabulary
    place: str
    _position: int = 0
    _depth: int = 0

    def parts(self) -> Iterator[str | _Evaluate]:
        while (opening := self.text.find("{{", self._position)) >= 0:
            if opening > self._position:
                yield self.text[self._position : opening]
            self._position = opening + 2
            yield self._command("end").evaluate
        if self._position < len(self.text):
            yield self.text[self._position :]

    def _next(self) -> _Token:
        match = _TOKEN.match(self.text, self._position)
        if match is None:
            rest = self.text[self._position :].lstrip()
            at = len(self.text) - len(rest)
            raise self._error(at, f"{rest[:10]!r} is not understood" if rest else "the closing }} is missing")
        self._position, kind = match.end(), str(match.lastgroup)
        return _Token(kind, match[kind], match.start(kind))

    def _command(self, closing: str) -> _Operand:
        """A value, or a function or field with arguments, up to the closing token."""
        self._depth += 1
        first = self._next()
        if self._depth > _MAX_DEPTH:
            raise self._error(first.position, f"parentheses are nested more than {_MAX_DEPTH} deep")
        if first.kind == closing:
            raise self._error(first.position, "an expression is empty")
        called = first.kind == "field" or _is_function(first)
        operand = None if called else self._operand(first)
        arguments = self._arguments(closing)
        self._depth -= 1
        if operand is None:
            return _Operand(self._call(first, arguments))
        if arguments:
            raise self._error(first.position, f"{first.text} takes no arguments")
        return operand

    def _arguments(self, closing: str) -> list[_Operand]:
        arguments = []
        while (token := self._next()).kind != closing:
            arguments.append(self._operand(token))
        return arguments

    def _operand(self, token: _Token) -> _Operand:
        match token.kind:
            case "string":
                return _constant(self._unescaped(token))
            case "raw":
                return _constant(token.text[1:-1])
            case "number":
                return _constant(int(token.text))
            case "open":
                return self._command("close")
            case "name" if token.text in _CONSTANTS:
                return _constant(_CONSTANTS[token.text])
            case "field" | "name":
                return _Operand(self._call(token, []))
        raise self._error(token.position, f"{token.text} is unexpected here")

    def _call(self, token: _Token, arguments: Sequence[_Operand]) -> _Evaluate:
        return (self._field if token.kind == "field" else self._function)(token, arguments)

    def _unescaped(self, token: _Token) -> str:
        body, unknown = token.text[1:-1], re.search(r"\\", _ESCAPE.sub("", token.text[1:-1]))
        if unknown:
            raise self._error(token.position, f"{token.text} has an escape sequence that Go has not")
        return _ESCAPE.sub(_character, body)

    def _field(self, token: _Token, arguments: Sequence[_Operand]) -> _Evaluate:
        _, name, *rest = token.text.split(".")
        if name not in self.vocabulary:
            raise self._unknown(token.position, f".{name}", [f".{known}" for known in self.vocabulary])
        members = self.vocabulary[name]
        if len(rest) != 1 or rest[0] not in members:
            raise self._unknown(token.position, token.text, [f".{name}.{known}" for known in members])
        member = members[rest[0]]
        self._check(token, arguments, member.parameters)

        def evaluate(subjects: Subjects) -> Value:
            values = [argument.evaluate(subjects) for argument in arguments]
            for value, kind in zip(values, member.parameters, strict=True):
                if type(value) is not kind:
                    raise self._error(token.position, f"{token.text} takes {_KINDS[kind]}, not {_printed(value)}")
            return member.read(subjects[name], *values)

        return evaluate

    def _check(self, token: _Token, arguments: Sequence[_Operand], parameters: Sequence[type]) -> None:
        wrong = len(arguments) != len(parameters) or any(
            argument.constant is not None and type(argument.constant) is not kind
            for argument, kind in zip(arguments, parameters, strict=True)
        )
        if wrong:
            expected = " and ".join(_KINDS[kind] for kind in parameters) or "no arguments"
            raise self._error(token.position, f"{token.text} takes {expected}")

    def _function(self, token: _Token, arguments: Sequence[_Operand]) -> _Evaluate:
        if token.text not in _FUNCTIONS:
            raise self._unknown(token.position, f"the function {token.text}", sorted(_FUNCTIONS))
        function, least, most = _FUNCTIONS[token.text]
        if not least <= len(arguments) <= most:
            count = str(least) if least == most else f"{least} or more"
            raise self._error(token.position, f"{token.text} takes {count} argument{'s' * (count != '1')}")

        def evaluate(subjects: Subjects) -> Value:
            try:
                return function(*(lambda argument=argument: argument.evaluate(subjects) for argument in arguments))
            except TypeError as error:
                raise self._error(token.position, str(error)) from None

        return evaluate

    def _unknown(self, position: int, what: str, known: Sequence[str]) -> ExpressionError:
        return self._error(position, f"there is no {what.removeprefix('the ')}; known are {', '.join(known)}")

    def _error(self, position: int, reason: str) -> ExpressionError:
        return ExpressionError(f"{self.place}{self.text!r} at character {position + 1}: {reason}")


def _is_function(token: _Token) -> bool:
    return token.kind == "name" and token.text not in _CONSTANTS


_KINDS = {str: "a text", int: "a whole number", bool: "true or false"}
_CONSTANTS: dict[str, Value] = {"true": True, "false": False}


def _constant(value: Value) -> _Operand:
    return _Operand(lambda _: value, value)


def _character(match: re.Match[str]) -> str:
    simple, hexadecimal, unicode, octal = match.groups()
    if simple:
        return _ESCAPED.get(simple, simple)
    return chr(int(octal, 8)) if octal else chr(int(hexadecimal or unicode, 16))


def _printed(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_Late = Callable[[], Value]


def _eq(first: _Late, *others: _Late) -> Value:
    """As in Go: whether the first equals any of the others, which must be of its type."""
    value = first()
    for other in (late() for late in others):
        if type(other) is not type(value):
            raise TypeError(f"{_printed(value)!r} and {_printed(other)!r} are of different types")
        if other == value:
            return True
    return False


def _ne(first: _Late, second: _Late) -> Value:
    return not _eq(first, second)


def _and(*arguments: _Late) -> Value:
    """The first that is false, 0 or empty, else the last; what follows is not evaluated."""
    for late in arguments:
        if not (value := late()):
            break
    return value


def _or(*arguments: _Late) -> Value:
    """The first that is not false, 0 or empty, else the last; what follows is not evaluated."""
    for late in arguments:
        if value := late():
            break
    return value


def _not(argument: _Late) -> Value:
    return not argument()


def _equals_or_default(wanted: _Late, if_same: _Late, value: _Late) -> Value:
    """`equalsOrDefault eq ifSame value`: ifSame if the value equals eq, else the value itself."""
    return if_same() if _eq(value, wanted) else value()


_FUNCTIONS: dict[str, tuple[Callable[..., Value], int, int]] = {
    "and": (_and, 1, _MAX_TEXT),
    "eq": (_eq, 2, _MAX_TEXT),
    "equalsOrDefault": (_equals_or_default, 3, 3),
    "ne": (_ne, 2, 2),
    "not": (_not, 1, 1),
    "or": (_or, 1, _MAX_TEXT),
}
