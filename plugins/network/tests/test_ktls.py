"""Sessions whose encryption OpenSSL has handed to the kernel: what system calls move is their plain text.

For kernels that can (`make test-kernels`): those of this machine may have been built without.
"""

import socket
import sys
from collections import Counter
from pathlib import Path

import pytest
from gotls import line, running, seen_of
from https import BLOCKING, BLOCKING_CLIENT, make_certificate
from nginx import free_port
from programs import go

from rover_http1.plugin import rover_protocols
from rover_network.profiler import create
from rover_network.settings import NetworkSettings
from rover_network.tls.openssl import OpenSsl

pytestmark = pytest.mark.kernel

_STATISTICS = Path("/proc/net/tls_stat")
_ENABLE = "context.options |= 8"  # SSL_OP_ENABLE_KTLS, which Python has a name for since 3.12


def _handed_over() -> Counter[str]:
    """Directions of sessions that the kernel has taken over so far (Documentation/networking/tls.rst)."""
    words = [text.split() for text in _STATISTICS.read_text().splitlines()]
    return Counter({name: int(count) for name, count in words if name in ("TlsTxSw", "TlsRxSw")})


@pytest.fixture
def ktls() -> None:
    with socket.socket() as listener, socket.socket() as end:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        end.connect(listener.getsockname())
        try:
            end.setsockopt(socket.IPPROTO_TCP, 31, b"tls")  # TCP_ULP
        except OSError:
            pytest.skip("this kernel has no kTLS")


@pytest.mark.usefixtures("ktls")
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_what_the_kernel_encrypts_is_read_once(tmp_path: Path, version: str) -> None:
    """Broken: requests of a session that the kernel encrypts are missed, or counted twice: by its library, too."""
    make_certificate(tmp_path)
    texts = {
        "server": BLOCKING.replace("context.load", f"{_ENABLE}\ncontext.load"),
        "client": BLOCKING_CLIENT.replace("context.max", f"{_ENABLE}\ncontext.max"),
    }
    for name, text in texts.items():
        assert _ENABLE in text
        (tmp_path / name).write_text(text)
    port = free_port()
    profiler = create(NetworkSettings(), protocols=rover_protocols, tls_libraries=lambda: [OpenSsl()])
    before = _handed_over()
    try:
        with (
            running(sys.executable, tmp_path / "server", tmp_path, port) as server,
            running(sys.executable, tmp_path / "client", port, version, 0) as client,
        ):
            assert (line(server), line(client)) == ("ready", "ready")

            def work() -> None:
                go(client)
                assert line(client).split()[1:] == ["200", "200", "404"] * 3

            seen = seen_of(profiler, [server, client], work)
    finally:
        profiler.close()
    assert (_handed_over() - before)["TlsTxSw"] >= 6, "three connections, of two ends"
    expected = Counter({("GET /id1", "200"): 3, ("GET /id2", "200"): 3, ("GET /absent", "404"): 3})
    for each, role in ((server, "server"), (client, "client")):
        assert seen.exchanges(each, role) == expected
        assert seen.paired(each, role) == 9
        assert all(operation.ssl for operation in seen.of(each, role))
    assert not seen.lost
