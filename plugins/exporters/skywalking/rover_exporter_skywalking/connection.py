"""The one channel to the backend."""

import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from rover_core.errors import RoverError
from rover_core.logs import get_logger
from rover_exporter_skywalking.rpc import Reply, Rpc
from rover_exporter_skywalking.settings import BackendSettings
from rover_exporter_skywalking.tunnel import Tunnel

if TYPE_CHECKING:
    import grpc
    import grpc.aio

log = get_logger("skywalking")

_ASK_WITHIN_S = 10.0
_SEND_WITHIN_S = 20.0
_AWAY = {
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "CANCELLED",
}
_REFUSED = {"INVALID_ARGUMENT", "OUT_OF_RANGE", "UNIMPLEMENTED"}
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 10_000),
    ("grpc.enable_retries", 0),  # what failed is kept and tried again here
)


class BackendError(RoverError):
    """A call that failed. code: the name of gRPC's status (`UNAVAILABLE`).

    away: the backend was not there for it, so anything would have failed; refused: it will never take this.
    """

    def __init__(self, what: str, code: str, details: str) -> None:
        super().__init__(what, why=f"{code}: {details}" if details else code)
        self.code = code
        self.details = details
        self.away = code in _AWAY
        self.refused = code in _REFUSED


class Connection:
    """A lazily opened gRPC channel. Used on one event loop only."""

    def __init__(self, settings: BackendSettings) -> None:
        self.settings = settings
        self._channel: grpc.aio.Channel | None = None
        self._tunnel: Tunnel | None = None
        self._opening = asyncio.Lock()
        self._failing: set[str] = set()
        secret = settings.authentication.get_secret_value()
        self._metadata = (("authentication", secret),) if secret else None

    async def ask(self, rpc: Rpc[Reply], request: Message) -> Reply:
        """One request, one reply. Raises BackendError."""
        channel = await self._opened()
        call: Any = channel.unary_unary(rpc.path, response_deserializer=rpc.reply.FromString)
        answer = call(request.SerializeToString(), timeout=_ASK_WITHIN_S, metadata=self._metadata)
        reply: Reply = await self._answered(rpc, answer)
        return reply

    async def send(self, rpc: Rpc[Any], messages: Sequence[bytes]) -> None:
        """A stream of serialized messages, closed, and its reply awaited. Raises BackendError."""
        channel = await self._opened()
        call: Any = channel.stream_unary(rpc.path, response_deserializer=rpc.reply.FromString)
        await self._answered(rpc, call(messages, timeout=_SEND_WITHIN_S, metadata=self._metadata))

    async def _answered(self, rpc: Rpc[Any], answer: Any) -> Any:
        import grpc.aio

        name = rpc.path.rpartition("/")[2]
        try:
            reply = await answer
        except grpc.aio.AioRpcError as error:
            failure = BackendError(f"{name} failed at {self.settings.addr}", error.code().name, error.details() or "")
            if name not in self._failing:  # once per outage
                log.warning("backend did not answer", call=name, address=self.settings.addr, reason=failure.why)
            self._failing.add(name)
            raise failure from None
        if name in self._failing:
            log.info("backend answers again", call=name, address=self.settings.addr)
        self._failing.discard(name)
        return reply

    async def watch(self) -> None:
        """Log how the connection comes and goes, for ever."""
        connected: bool | None = None
        while True:
            now = await self._state() in ("READY", "IDLE")
            if connected is not None and now != connected:
                log.info("backend connected" if now else "backend disconnected", address=self.settings.addr)
            connected = now
            await asyncio.sleep(self.settings.check_period)

    async def _state(self) -> str:
        """gRPC's name for the state of the channel."""
        try:
            channel = await self._opened()
        except BackendError:
            return "SHUTDOWN"
        return channel.get_state(try_to_connect=True).name

    async def ready(self) -> None:
        """Wait for the connection, for as long as it takes."""
        await (await self._opened()).channel_ready()

    async def close(self) -> None:
        if self._channel:
            await self._channel.close(grace=None)
        if self._tunnel:
            await self._tunnel.close()

    async def _opened(self) -> "grpc.aio.Channel":
        async with self._opening:
            if self._channel is None:
                try:
                    self._channel = await self._open()
                except OSError as error:  # a certificate's file that is gone since the start
                    raise BackendError(f"no channel to {self.settings.addr}", "UNAVAILABLE", str(error)) from None
            return self._channel

    async def _open(self) -> "grpc.aio.Channel":
        # Rover execs and never forks; and what gRPC would write to stderr by itself is in the errors.
        os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        import grpc.aio

        settings = self.settings
        if not settings.enable_TLS:
            return grpc.aio.insecure_channel(settings.addr, options=_OPTIONS)
        if settings.insecure_skip_verify:
            self._tunnel = Tunnel(settings)
            await self._tunnel.open()
            options = (*_OPTIONS, ("grpc.default_authority", settings.addr))
            return grpc.aio.insecure_channel(self._tunnel.target, options=options)
        return grpc.aio.secure_channel(settings.addr, _credentials(settings), options=_OPTIONS)


def _credentials(settings: BackendSettings) -> "grpc.ChannelCredentials":
    import grpc

    both = bool(settings.client_pem_path and settings.client_key_path)
    return grpc.ssl_channel_credentials(
        root_certificates=settings.pem(settings.ca_pem_path) or _system_roots(),
        private_key=settings.pem(settings.client_key_path) if both else None,
        certificate_chain=settings.pem(settings.client_pem_path) if both else None,
    )


def _system_roots() -> bytes | None:
    """The certificates that this system believes; gRPC would take those that it brings itself."""
    import ssl
    from pathlib import Path

    file = ssl.get_default_verify_paths().cafile
    return Path(file).read_bytes() if file else None
