"""Real programs' datagrams without a kernel's help."""

import socket
import threading
import time

from rover_core.api import WireProtocol
from rover_core.wire import Connection, Direction, Exchange, Limits


class DatagramRelay:
    """Between UDP clients, a conversation for each socket, and a server. drop: number of the datagram to lose."""

    def __init__(self, protocol: WireProtocol, target: tuple[str, int], port: int = 0, drop: int = -1) -> None:
        assert protocol.datagrams is not None
        self._protocol, self._target, self._drop = protocol, target, drop
        self._lock = threading.Lock()
        self._conversations: dict[tuple[str, int], tuple[Connection, socket.socket]] = {}
        self.exchanges: list[Exchange] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._from_clients, daemon=True).start()

    def _from_clients(self) -> None:
        count = 0
        while True:
            try:
                data, client = self._socket.recvfrom(65_536)
            except OSError:
                return
            if not data:
                return
            connection, server = self._conversation(client)
            self._see(connection, Direction.CLIENT, data)
            if count != self._drop:
                server.send(data)
            count += 1

    def _conversation(self, client: tuple[str, int]) -> tuple[Connection, socket.socket]:
        if client not in self._conversations:
            assert self._protocol.datagrams is not None
            server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            server.connect(self._target)
            connection = self._protocol.datagrams(Limits())
            self._conversations[client] = (connection, server)
            threading.Thread(target=self._from_server, args=(connection, server, client), daemon=True).start()
        return self._conversations[client]

    def _from_server(self, connection: Connection, server: socket.socket, client: tuple[str, int]) -> None:
        while True:
            try:
                data = server.recv(65_536)
            except OSError:
                return
            if not data:
                return
            self._see(connection, Direction.SERVER, data)
            self._socket.sendto(data, client)

    def _see(self, connection: Connection, side: Direction, data: bytes) -> None:
        wanted = self._protocol.capture.server if side else self._protocol.capture.client
        with self._lock:
            seen = data[:wanted]
            self.exchanges += connection.feed(side, seen, len(data) - len(seen), time.monotonic_ns())

    def finish(self) -> list[Exchange]:
        """Everything that was read, halves last. The clients are done: what comes now is lost."""
        for _, server in self._conversations.values():
            server.shutdown(socket.SHUT_RDWR)
            server.close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", ("127.0.0.1", self.port))
        self._socket.close()
        return self.exchanges + [
            each for connection, _ in self._conversations.values() for each in connection.close()
        ]
