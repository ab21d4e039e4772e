"""A TCP proxy between an agent and its backend that cuts connections when told to."""

import asyncio
import contextlib


class CuttingProxy:
    """Passes everything on until `cut`; a new connection is passed on again."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "localhost", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server:
            self._server.close()
        self.cut()
        await asyncio.sleep(0)

    def cut(self) -> int:
        """Reset every connection, in the middle of whatever it carries. Returns how many there were."""
        count = len(self._open)
        for writer in list(self._open):
            writer.transport.abort()
        return count // 2

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, requests = await asyncio.open_connection("localhost", self._target)
        self._open |= {writer, requests}
        await asyncio.gather(self._pump(reader, requests), self._pump(answers, writer))
        self._open -= {writer, requests}

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(4096):
                sink.write(data)
                await sink.drain()
        sink.close()
