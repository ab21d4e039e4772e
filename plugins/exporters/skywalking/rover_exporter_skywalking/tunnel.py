"""TLS to a backend whose certificate is not to be verified, which gRPC's Python library cannot do itself.

gRPC speaks plaintext HTTP/2 to a Unix socket that only this user can reach; here it is encrypted, by Python's ssl,
which can leave the certificate unverified whatever is wrong with it (issuer, name, date).
"""

import asyncio
import os
import shutil
import ssl
import tempfile

from rover_core.logs import get_logger
from rover_exporter_skywalking.settings import BackendSettings

log = get_logger("skywalking")

_CHUNK = 1 << 16
_CONNECT_WITHIN_S = 10.0


class Tunnel:
    """From a Unix socket to the backend."""

    def __init__(self, settings: BackendSettings) -> None:
        self._settings = settings
        host, _, port = settings.addr.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._folder = tempfile.mkdtemp(prefix="rover-")  # mode 0700
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._complaining = False

    @property
    def target(self) -> str:
        """Where gRPC is to connect to."""
        return f"unix:{self._path}"

    @property
    def _path(self) -> str:
        return os.path.join(self._folder, "backend")

    async def open(self) -> None:
        self._server = await asyncio.start_unix_server(self._accept, self._path)

    async def close(self) -> None:
        if self._server:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        if self._settings.client_pem_path and self._settings.client_key_path:
            context.load_cert_chain(self._settings.client_pem_path, self._settings.client_key_path)
        return context

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_CONNECT_WITHIN_S):
                context = self._context()
                answers, requests = await asyncio.open_connection(self._host, self._port, ssl=context)
        except (OSError, ssl.SSLError, TimeoutError) as error:
            if not self._complaining:  # gRPC only sees its connection closed, so the reason is told here, once
                log.warning("no TLS connection to the backend", address=self._settings.addr, reason=str(error))
            self._complaining = True
            writer.close()
            return
        self._complaining = False
        ends = {writer, requests}
        self._writers |= ends
        await asyncio.gather(_pump(reader, requests), _pump(answers, writer))
        self._writers -= ends


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Everything from one to the other, until either end closes."""
    try:
        while data := await source.read(_CHUNK):
            sink.write(data)
            await sink.drain()
    except (OSError, ssl.SSLError):
        pass  # the other direction is closed with it, and gRPC connects anew
    finally:
        sink.close()
