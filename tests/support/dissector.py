"""An independent dissector, and all the packets that it needs: of the loopback interface, while something happens."""

import re
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from end_to_end import until

_BUFFER_MB = "64"
"""Room in the kernel for more than any test sends: nothing is lost however long dumpcap waits for a processor."""


@contextmanager
def recording(file: Path, which: str) -> Iterator[None]:
    """Every packet that passes while the block runs, in a file. which: a capture filter.

    AssertionError if one is missing: there is nothing to compare with then.
    """
    file.touch()
    file.chmod(0o666)  # dumpcap gives up its rights
    for folder in (file.parent, *file.parents[1:3]):
        folder.chmod(0o777)
    with _Mark(file) as begun, _Mark(file) as ended:
        wanted = f"({which}) or udp port {begun.port} or udp port {ended.port}"
        command = ["dumpcap", "-q", "-P", "-B", _BUFFER_MB, "-i", "lo", "-f", wanted, "-w", str(file)]
        capture = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            begun.wait()
            yield
            ended.wait()
        finally:
            capture.terminate()
            said = capture.communicate(timeout=30)[1]
    count = re.search(r"received/dropped on interface .*: (\d+)/(\d+) ", said)
    assert count, said
    assert count[2] == "0", said


class _Mark:
    """Datagrams to itself, without content: they are in the file when all that was sent before is."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._socket.connect(self._socket.getsockname())

    def __enter__(self) -> "_Mark":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def wait(self) -> None:
        head = struct.pack(">HHH", self.port, self.port, 8)  # of UDP: source, destination, length

        def is_there() -> bool:
            self._socket.send(b"")
            return head in self._file.read_bytes()

        until(is_there, within_s=60)


def dissected(file: Path, *options: object) -> str:
    """What tshark prints of a capture.

    When a program moves to another processor, the loopback interface may deliver, and show, what it sends now before
    what it sent earlier. tshark leaves such segments unread unless it is told to put them in order.
    """
    command = ["tshark", "-r", file, "-o", "tcp.reassemble_out_of_order:TRUE", *options]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout
