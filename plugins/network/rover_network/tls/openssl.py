"""OpenSSL and what has its functions: LibreSSL, BoringSSL, the copies inside Node, wheels and static programs."""

from collections.abc import Sequence

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


class OpenSsl:
    """A `rover_core.api.TlsLibrary`. Functions that a version has not are not needed."""

    name = "OpenSSL"

    def probes(self, file: TlsFile) -> Sequence[TlsProbe]:
        found = file.functions(_FUNCTIONS)
        if found.keys() >= _NEEDED:
            return [probe for name, offset in found.items() for probe in _FUNCTIONS[name](offset)]
        if file.mentions(_SOURCE):
            raise RoverError(
                "OpenSSL or BoringSSL is in there",
                why="the names of its functions are not",
                remedy="do not strip it of its symbols",
            )
        return ()
