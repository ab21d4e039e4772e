"""A BIND of a test's own, over UDP, TCP and TLS, and a dnsmasq on port 53, where the C library asks."""

import re
import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from end_to_end import until
from https import make_certificate
from nginx import free_port

CONFIGURATION = """
tls own {{ cert-file "{folder}/certificate"; key-file "{folder}/key"; }};
options {{
    directory "{folder}"; pid-file none; session-keyfile none; recursion no; notify no; listen-on-v6 {{ none; }};
    listen-on port {port} {{ 127.0.0.1; }}; listen-on port {secure} tls own {{ 127.0.0.1; }};
}};
controls {{ }};
logging {{ category queries {{ default_stderr; }}; }};
zone "shop.test" {{ type primary; file "{folder}/zone"; }};
"""
ZONE = """$TTL 60
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
www A 10.0.0.1
www AAAA fd00::1
alias CNAME www
@ MX 10 mail
_http._tcp SRV 0 0 80 www
"""
NEEDED = ("named", "dnsmasq", "dig", "unshare")
RECORDS = (
    "--local=/shop.test/",
    "--host-record=www.shop.test,10.0.0.1,fd00::1",
    "--cname=alias.shop.test,www.shop.test",
)


class Bind(NamedTuple):
    """secure: the port where it speaks TLS."""

    pid: int
    port: int
    secure: int
    log: Path

    def logged(self) -> "Counter[str]":
        """`A www.shop.test` for each query."""
        found = re.findall(r": query: (\S+) IN (\S+) ", self.log.read_text())
        return Counter(f"{kind} {name.lower()}" for name, kind in found)


def missing() -> list[str]:
    return [each for each in NEEDED if not shutil.which(each)]


@contextmanager
def bind(folder: Path) -> Iterator[Bind]:
    make_certificate(folder)
    port, secure = free_port(), free_port()
    zone = ZONE + "".join(f'big TXT "{number}{"x" * 240}"\n' for number in range(12))
    (folder / "zone").write_text(zone)
    (folder / "named.conf").write_text(CONFIGURATION.format(folder=folder, port=port, secure=secure))
    command = ["named", "-g", "-4", "-n", "1", "-c", str(folder / "named.conf")]
    with (folder / "named.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until(lambda: "running" in (folder / "named.log").read_text() or process.poll() is not None)
        assert process.poll() is None, (folder / "named.log").read_text()[-2000:]
        yield Bind(process.pid, port, secure, folder / "named.log")
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def dnsmasq() -> Iterator[str]:
    """The address where port 53 is its own."""
    address = free_address()
    options = [
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--port=53",
        "--user=root",
    ]
    options += [f"--listen-address={address}", "--bind-interfaces", "--pid-file="]
    process = subprocess.Popen(["dnsmasq", *options, *RECORDS], stderr=subprocess.DEVNULL)
    try:
        until(lambda: _listens(address) or process.poll() is not None)
        assert process.poll() is None
        yield address
    finally:
        process.terminate()
        process.wait(30)


def _listens(address: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, 53)) == 0


def free_address() -> str:
    """Of this host, with a port 53 that is free for both transports."""
    for number in range(2, 250):
        address = f"127.83.7.{number}"
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            try:
                stream.bind((address, 53))
                datagrams.bind((address, 53))
            except OSError:
                continue
        return address
    raise AssertionError("port 53 is taken on all addresses")
