"""Linker names to what the programmer wrote: C++ (Itanium ABI) and Rust (legacy and v0). Never raises.

Names come out of strangers' files, so both ends are bounded: long input stays as it is, long output is cut.
"""

import re
from functools import lru_cache

import pycxxfilt

MAX_CHARS = 1024
"""Longest name shown. Node's longest of 86 000 is 483 mangled; a name beyond this is no use in a table."""

_MAX_INPUT = 4096
_MAX_REFERENCES = 48
# Each back reference may double what is printed: 234 bytes of `_Z1f1A1BIS_S_ES0_IS1_S1_E…` print 25 MB, 300 would
# print gigabytes, and LLVM has no limit. No function of Node has 40 references.
_REFERENCE = re.compile(r"[STB]")
# rustc's legacy scheme is an Itanium nested name whose last part is `h` and a 64-bit hash.
_RUST_LEGACY = re.compile(r"_?_?ZN(.+)17h[0-9a-f]{16}E(?:\.llvm\.\w+)?")
_LENGTH = re.compile(r"[1-9][0-9]*")
_ESCAPE = re.compile(r"\$(?:(SP|BP|RF|LT|GT|LP|RP|C)|u([0-9a-f]{1,6}))\$|(\.\.)")
_ESCAPES = {"SP": "@", "BP": "*", "RF": "&", "LT": "<", "GT": ">", "LP": "(", "RP": ")", "C": ","}


@lru_cache(maxsize=2048)
def demangle(name: str) -> str:
    """The readable form of a symbol's name, at most MAX_CHARS characters; the name itself if it is not mangled."""
    readable = _demangled(name[1:] if name.startswith((".", "$")) else name) or name
    return readable if len(readable) <= MAX_CHARS else readable[: MAX_CHARS - 1] + "…"


def _demangled(name: str) -> str | None:
    if not name.startswith(("_Z", "__Z", "_R")) or len(name) > _MAX_INPUT:
        return None
    if (legacy := _RUST_LEGACY.fullmatch(name)) and (path := _rust_path(legacy[1])):
        return path
    # A reference is S, T or B, a number, and an underscore: at most one ends at each underscore.
    if sum(map(bool, map(_REFERENCE.search, name.split("_")[:-1]))) > _MAX_REFERENCES:
        return None
    try:
        return pycxxfilt.demangle(name)
    except ValueError:
        return None


def _rust_path(parts: str) -> str | None:
    """`4core3ptr` to `core::ptr`; None where the lengths do not add up (then it was C++ after all)."""
    names, at = [], 0
    while at < len(parts):
        length = _LENGTH.match(parts, at)
        if length is None or len(length[0]) > 4 or length.end() + int(length[0]) > len(parts):
            return None
        at = length.end() + int(length[0])
        names.append(_rust_identifier(parts[length.end() : at]))
    return "::".join(names)


def _rust_identifier(text: str) -> str:
    # An identifier may not begin with `$`, so rustc puts an underscore in front.
    return _ESCAPE.sub(_unescape, text[1:] if text.startswith("_$") else text)


def _unescape(escape: re.Match[str]) -> str:
    if escape[1]:
        return _ESCAPES[escape[1]]
    if escape[3]:
        return "::"
    code = int(escape[2], 16)
    return chr(code) if code <= 0x10FFFF and chr(code).isprintable() else escape[0]
