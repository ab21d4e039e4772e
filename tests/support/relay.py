"""Real programs' traffic without a kernel's help."""

import contextlib
import socket
import threading
import time

from rover_core.api import WireProtocol
from rover_core.wire import CaptureMode, Connection, Direction, Exchange, Limits

_LIMITED = (CaptureMode.CALLS, CaptureMode.MESSAGES)


class Relay:
    """Between clients and a server: each read is a call, of which the parser gets what the protocol wants of it.

    content: bytes of each message that a sampling rule wants, which raise that. Times are CLOCK_MONOTONIC's.
    """

    def __init__(self, protocol: WireProtocol, target: tuple[str, int], content: int = 0) -> None:
        self._protocol, self._target, self._content = protocol, target, content
        self._lock = threading.Lock()
        self._open = 0
        self._sockets: list[socket.socket] = []
        self.exchanges: list[Exchange] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            connection = self._protocol.connect(Limits(content=self._content))
            turn = [-1, 0]  # which side spoke last, and how much it has said since
            with self._lock:
                self._open += 2
                self._sockets += [client, server]
            for side, source, sink in ((Direction.CLIENT, client, server), (Direction.SERVER, server, client)):
                threading.Thread(target=self._pass, args=(connection, turn, side, source, sink), daemon=True).start()

    def _pass(
        self, connection: Connection, turn: list[int], side: Direction, source: socket.socket, sink: socket.socket
    ) -> None:
        capture = self._protocol.capture
        wanted = max(capture.server if side else capture.client, self._content)
        while data := _received(source):
            with self._lock:
                if turn[0] != side or capture.mode is CaptureMode.CALLS:
                    turn[:] = side, 0
                seen = data[: max(0, wanted - turn[1])] if capture.mode in _LIMITED else data
                turn[1] += len(data)
                self.exchanges += connection.feed(side, seen, len(data) - len(seen), time.monotonic_ns())
            sink.sendall(data)
        with contextlib.suppress(OSError):  # it may be gone
            sink.shutdown(socket.SHUT_WR)
        with self._lock:
            self._open -= 1

    def finish(self) -> list[Exchange]:
        end = time.monotonic() + 30
        while self._open and time.monotonic() < end:
            time.sleep(0.01)
        assert not self._open, "connections are left"
        self._listener.shutdown(socket.SHUT_RDWR)  # ends the wait in accept
        for each in (self._listener, *self._sockets):
            each.close()
        return self.exchanges


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(65_536)
    except ConnectionResetError:  # how some end
        return b""
