"""Name servers with one zone, on a port of a test's own, over IPv4 and IPv6: BIND, unbound and dnsmasq, each with a
log of every query."""

import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bind_server import RECORDS, ZONE, free_address
from end_to_end import until
from nginx import free_port

BIND = """
options {{
    directory "{folder}"; pid-file none; session-keyfile none; recursion no; notify no;
    listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 port {port} {{ ::1; }};
}};
controls {{ }};
logging {{ category queries {{ default_stderr; }}; }};
zone "shop.test" {{ type primary; file "{folder}/zone"; }};
"""
UNBOUND = """
server:
  directory: "{folder}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  logfile: ""
  do-daemonize: no
  num-threads: 1
  module-config: "iterator"
  interface: 127.0.0.1@{port}
  interface: ::1@{port}
  interface: {address}@53
  access-control: 127.0.0.0/8 {access}
  verbosity: 1
  log-queries: yes
  local-zone: "elsewhere.org." always_refuse
  local-zone: "shop.test." static
  local-data: "www.shop.test. A 10.0.0.1"
  local-data: "www.shop.test. AAAA fd00::1"
  local-data: "shop.test. MX 10 mail.shop.test."
remote-control:
  control-enable: no
"""


class NameServer(NamedTuple):
    """address: where it listens on port 53, too, for the C library; "" if it does not."""

    pid: int
    port: int
    address: str
    log: Path
    pattern: str

    def logged(self) -> "Counter[str]":
        """`A www.shop.test` for each query."""
        found = re.finditer(self.pattern, self.log.read_text())
        return Counter(f"{each['type']} {each['name'].lower().rstrip('.')}" for each in found)


@contextmanager
def started(command: Sequence[object], log: Path, ready: str) -> Iterator[int]:
    with log.open("w") as output:
        process = subprocess.Popen([*map(str, command)], stdout=output, stderr=output)
    try:
        until(lambda: ready in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()[-2000:]
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def name_server(kind: str, folder: Path) -> Iterator[NameServer]:
    """kind: `named`, `unbound`, `silent` (unbound that answers nobody), or `dnsmasq`."""
    folder.mkdir()
    port, log, settings, address = free_port(), folder / "log", folder / "settings", ""
    if kind == "named":
        (folder / "zone").write_text(ZONE)
        settings.write_text(BIND.format(folder=folder, port=port))
        command: list[object] = ["named", "-g", "-n", "1", "-c", settings]
        pattern, ready = r": query: (?P<name>\S+) IN (?P<type>\S+) ", "running"
    elif kind in ("unbound", "silent"):
        address, access = free_address(), "allow" if kind == "unbound" else "deny"
        settings.write_text(UNBOUND.format(folder=folder, port=port, address=address, access=access))
        command = ["unbound", "-d", "-c", settings]
        pattern, ready = r"(?m)info: \S+ (?P<name>\S+) (?P<type>\S+) IN$", "start of service"
    else:
        command = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"]
        command += ["--user=root", "--pid-file=", "--log-queries=extra", "--log-facility=-", "--log-async=0"]
        command += [f"--port={port}", "--listen-address=127.0.0.1", "--listen-address=::1", "--bind-interfaces"]
        command += ["--mx-host=shop.test,mail.shop.test,10", *RECORDS]
        pattern, ready = r"query\[(?P<type>\S+)\] (?P<name>\S+) from", "started"
    with started(command, log, ready) as pid:
        yield NameServer(pid, port, address, log, pattern)
