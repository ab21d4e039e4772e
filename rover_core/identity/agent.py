"""Who this agent is, and the addresses of the host it runs on."""

import socket
import struct
import uuid
from collections.abc import Iterator
from contextlib import suppress
from fcntl import ioctl
from functools import cache
from pathlib import Path

_SIOCGIFADDR = 0x8915  # netdevice(7)
_IFREQ = struct.Struct("16s24x")  # 16 bytes of name, then a union of 24
_ADDRESS = slice(20, 24)  # sin_addr of the sockaddr_in in that union


@cache
def agent_id() -> str:
    """A random UUID, the same for as long as this process lives (contract section 1.1, "Rover identity")."""
    return str(uuid.uuid4())


def host_name() -> str:
    """The host's name."""
    return socket.gethostname()


def host_ipv4(interface: str) -> str:
    """The first IPv4 address of a network interface, "" if it has none or there is no such interface."""
    request = _IFREQ.pack(interface.encode()[:15])
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        return socket.inet_ntoa(ioctl(handle, _SIOCGIFADDR, request)[_ADDRESS])
    return ""


def host_ipv6(interface: str) -> str:
    """An IPv6 address of a network interface, of global scope if it has one, "" if it has none."""
    found = sorted((scope, address) for name, scope, address in _ipv6_addresses() if name == interface)
    return found[0][1] if found else ""


def host_ip() -> str:
    """The host's first IPv4 address, else its first IPv6 address; of the loopback interface if there is no other."""
    names = sorted((name for _, name in socket.if_nameindex()), key=lambda name: name == "lo")
    addresses = [*map(host_ipv4, names), *map(host_ipv6, names)]
    return next((address for address in addresses if address), "")


def _ipv6_addresses() -> Iterator[tuple[str, int, str]]:
    """Interface, scope (0: global), address. Lines of if_inet6: address, index, prefix length, scope, flags, name."""
    try:
        lines = Path("/proc/self/net/if_inet6").read_text().splitlines()
    except OSError:  # a kernel without IPv6
        return
    for fields in map(str.split, lines):
        yield fields[5], int(fields[3], 16), socket.inet_ntop(socket.AF_INET6, bytes.fromhex(fields[0]))
