"""Two network namespaces and a wire between them that delays every packet and loses some.

The wire is a process's memory: each namespace has a TUN device, and a thread here hands packets from one to the
other. `tc netem` does the same, where the kernel was built with it.
"""

import fcntl
import os
import random
import select
import struct
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TUNSETIFF = 0x400454CA  # include/uapi/linux/if_tun.h
_IFF_TUN, _IFF_NO_PI = 1, 0x1000
_PACKET = 65536


@dataclass(frozen=True, slots=True)
class Link:
    """namespaces and addresses of both ends."""

    names: tuple[str, str]
    addresses: tuple[str, str] = ("10.88.0.1", "10.88.0.2")

    def inside(self, end: int, *command: str) -> list[str]:
        """The command, to be run at one end."""
        return ["ip", "netns", "exec", self.names[end], *command]


@contextmanager
def lossy_link(delay_s: float, loss: float) -> Iterator[Link]:
    """delay_s: one way. loss: share of packets, both ways, by a generator whose seed is fixed."""
    link = Link((f"rover-a{os.getpid()}", f"rover-b{os.getpid()}"))
    devices = [_tun(name) for name in link.names]
    stop = threading.Event()
    relay = threading.Thread(target=_relay, args=(devices, delay_s, loss, stop))
    made: list[str] = []
    try:
        for end, name in enumerate(link.names):
            _ip("netns", "add", name)
            made.append(name)
            _ip("link", "set", name, "netns", name)
            here, there = link.addresses[end], link.addresses[1 - end]
            _ip("-n", name, "addr", "add", here, "peer", there, "dev", name)
            _ip("-n", name, "link", "set", name, "up", "mtu", "1500")
        relay.start()
        yield link
    finally:
        stop.set()
        if relay.is_alive():
            relay.join()
        for device in devices:
            os.close(device)
        for name in made:
            _ip("netns", "delete", name)


def _tun(name: str) -> int:
    if not Path("/dev/net/tun").exists():
        raise FileNotFoundError("/dev/net/tun")
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode()[:15], _IFF_TUN | _IFF_NO_PI))
    return device


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=20)


def _relay(devices: list[int], delay_s: float, loss: float, stop: threading.Event) -> None:
    lottery = random.Random(23)
    waiting: deque[tuple[float, int, bytes]] = deque()  # in the order they are due, since all wait equally long
    while not stop.is_set():
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, device, packet = waiting.popleft()
            try:
                os.write(device, packet)
            except OSError:  # the other end is not up (yet)
                continue
        timeout = min(0.05, waiting[0][0] - now) if waiting else 0.05
        for device in select.select(devices, [], [], max(timeout, 0))[0]:
            try:
                packet = os.read(device, _PACKET)
            except OSError:
                continue
            if lottery.random() >= loss:
                other = devices[1 - devices.index(device)]
                waiting.append((time.monotonic() + delay_s, other, packet))
