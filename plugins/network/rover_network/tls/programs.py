"""The functions of the eBPF program that read plain text: rover/tls.h, rover/go.h."""

from rover_core.api import TlsProbe

TRANSFER, TRANSFER_EX, READ, WRITTEN, HANDSHAKE, FREE = (
    "rover_tls_on_transfer",
    "rover_tls_on_transfer_ex",
    "rover_tls_on_read",
    "rover_tls_on_written",
    "rover_tls_on_handshake",
    "rover_tls_on_free",
)
GO_READ, GO_HAS_READ, GO_HAS_READ_KEPT, GO_WRITE, GO_WRITTEN = (
    "rover_go_on_read",
    "rover_go_on_has_read",
    "rover_go_on_has_read_kept",
    "rover_go_on_write",
    "rover_go_on_written",
)
PROGRAMS = dict.fromkeys((TRANSFER, TRANSFER_EX, READ, WRITTEN, HANDSHAKE, FREE), "UPROBE")
PROGRAMS |= dict.fromkeys((GO_READ, GO_HAS_READ, GO_HAS_READ_KEPT, GO_WRITE, GO_WRITTEN), "UPROBE")


def reads(offset: int) -> tuple[TlsProbe, ...]:
    """Of `int read(session, buffer, length)`, which returns how many bytes it has read."""
    return TlsProbe(READ, offset, on_return=True), TlsProbe(TRANSFER, offset)


def writes(offset: int) -> tuple[TlsProbe, ...]:
    """Of `int write(session, buffer, length)`, which returns how many bytes it has written."""
    return TlsProbe(WRITTEN, offset, on_return=True), TlsProbe(TRANSFER, offset)


def reads_ex(offset: int) -> tuple[TlsProbe, ...]:
    """Of `int read(session, buffer, size_t length, size_t *moved)`, which returns whether there are any."""
    return TlsProbe(READ, offset, on_return=True), TlsProbe(TRANSFER_EX, offset)


def writes_ex(offset: int) -> tuple[TlsProbe, ...]:
    """Of `int write(session, buffer, size_t length, size_t *moved)`, which returns whether there are any."""
    return TlsProbe(WRITTEN, offset, on_return=True), TlsProbe(TRANSFER_EX, offset)


def frees(offset: int) -> tuple[TlsProbe, ...]:
    """Of `void free(session)`."""
    return (TlsProbe(FREE, offset),)


def handshakes(offset: int) -> tuple[TlsProbe, ...]:
    """Of `int handshake(session)`, which may be called for what was read."""
    return (TlsProbe(HANDSHAKE, offset),)
