"""OpenSSL and what has its functions: LibreSSL, BoringSSL, the copies inside Node, wheels and static programs."""

import os
import re
from collections.abc import Mapping, Sequence

from rover_core.api import TlsFile, TlsProbe
from rover_core.errors import RoverError
from rover_network.tls.programs import frees, handshakes, reads, reads_ex, writes, writes_ex

_FUNCTIONS = {
    "SSL_read": reads,
    "SSL_write": writes,
    "SSL_read_ex": reads_ex,
    "SSL_write_ex": writes_ex,
    "SSL_do_handshake": handshakes,
    "SSL_free": frees,
}
_NEEDED = {"SSL_read", "SSL_write"}
_SOURCE = b"ssl/ssl_lib.c"  # in the texts of errors, of BoringSSL (ssl_lib.cc) too
_CALL = re.compile(rb"\xe8(....)", re.DOTALL)
_BEGIN = 48  # bytes of a function in which the one is called that does its work
_SINGLE = re.compile(rb"(\xf3\x0f\x1e\xfa)?\x41?[\x50-\x57]")
"""x86: a push, behind endbr64 or not. The kernel does it itself (push_setup_xol_ops of arch/x86/kernel/uprobes.c);
most other instructions it lets the program do, which takes another trap."""


class OpenSsl:
    """A `rover_core.api.TlsLibrary`. Functions that a version has not are not needed."""

    name = "OpenSSL"

    def probes(self, file: TlsFile) -> Sequence[TlsProbe]:
        found = file.functions(_FUNCTIONS)
        if found.keys() >= _NEEDED:
            found = _without_steps(file, found) if os.uname().machine == "x86_64" else found
            return [probe for name, offset in found.items() for probe in _FUNCTIONS[name](offset)]
        if file.mentions(_SOURCE):
            raise RoverError(
                "OpenSSL or BoringSSL is in there",
                why="the names of its functions are not",
                remedy="do not strip it of its symbols",
            )
        return ()


def _without_steps(file: TlsFile, found: Mapping[str, int]) -> dict[str, int]:
    """The same functions, or those that do their work, where probing them takes no single step."""
    places = {name: _behind_endbr(file, offset) for name, offset in found.items()}
    for plain, extended in (("SSL_read", "SSL_read_ex"), ("SSL_write", "SSL_write_ex")):
        worker = _worker(file, found[plain], found.get(extended))
        if places[plain] is None and worker is not None:
            places[extended] = worker  # ssl_read_internal, ssl_write_internal: they take what SSL_read_ex takes
            del places[plain]
    return {name: found[name] if place is None else place for name, place in places.items()}


def _behind_endbr(file: TlsFile, offset: int) -> int | None:
    """Where to probe a function that begins with a push; None if it does not."""
    begin = _SINGLE.match(file.read(offset, 6))
    return begin and offset + len(begin[1] or b"")


def _worker(file: TlsFile, plain: int, extended: int | None) -> int | None:
    """The function that both of these call first."""
    if extended is None:
        return None
    called = [_first_called(file, offset) for offset in (plain, extended)]
    return _behind_endbr(file, called[0]) if called[0] is not None and called[0] == called[1] else None


def _first_called(file: TlsFile, offset: int) -> int | None:
    call = _CALL.search(file.read(offset, _BEGIN))
    return call and offset + call.end() + int.from_bytes(call[1], "little", signed=True)
