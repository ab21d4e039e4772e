"""`rover doctor --backend`: is there a backend, and does it take this agent?"""

import asyncio
import socket
import time
from collections.abc import Iterable

from rover_core.api import Diagnostic, Health, Settings
from rover_core.config import format_duration
from rover_core.identity.agent import agent_id
from rover_exporter_skywalking.connection import BackendError, Connection
from rover_exporter_skywalking.protocol.profiling_pb2 import EBPFProfilingTaskQuery
from rover_exporter_skywalking.rpc import QUERY_TASKS
from rover_exporter_skywalking.settings import BackendSettings, is_configured

_REMEDIES = {
    "UNAUTHENTICATED": "set core.backend.authentication to what the backend's administrator gave you",
    "PERMISSION_DENIED": "set core.backend.authentication to what the backend's administrator gave you",
    "UNIMPLEMENTED": "this is no SkyWalking backend, or its eBPF receiver is off",
}


def check_backend(settings: Settings) -> Iterable[Diagnostic]:
    """One line for each thing that must work: the name, the connection, a call."""
    backend = settings.section(BackendSettings)
    if not is_configured(settings):
        remedy = "set core.backend.addr, or ROVER_BACKEND_ADDR, to the backend's gRPC address"
        yield Diagnostic("backend", Health.WARNING, "none is configured", remedy)
        return
    try:
        yield _resolve(backend)
        yield asyncio.run(_call(backend))
    except _UnhealthyError as problem:
        yield problem.diagnostic


class _UnhealthyError(Exception):
    def __init__(self, name: str, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.diagnostic = Diagnostic(name, Health.PROBLEM, detail, remedy)


def _resolve(backend: BackendSettings) -> Diagnostic:
    host, _, port = backend.addr.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        raise _UnhealthyError(
            "backend name", f"{host}: {error.strerror}", "check core.backend.addr and the DNS"
        ) from None
    addresses = dict.fromkeys(str(address[0]) for *_, address in found)
    return Diagnostic("backend name", Health.OK, f"{host} is {', '.join(addresses)}")


async def _call(backend: BackendSettings) -> Diagnostic:
    connection = Connection(backend)
    try:
        await _connect(connection, backend)
        began_ns = time.monotonic_ns()
        # What is newer than now: a question that takes nothing away from anybody.
        query = EBPFProfilingTaskQuery(roverInstanceId=agent_id(), latestUpdateTime=time.time_ns() // 1_000_000)
        await connection.ask(QUERY_TASKS, query)
        took = format_duration((time.monotonic_ns() - began_ns) // 100_000 * 100_000)
        secured = "TLS, unverified" if backend.insecure_skip_verify else "TLS"
        how = secured if backend.enable_TLS else "no TLS"
        return Diagnostic("backend", Health.OK, f"{backend.addr} answered within {took} ({how})")
    except BackendError as error:
        raise _UnhealthyError("backend", f"{error}", _REMEDIES.get(error.code, "see the backend's log")) from None
    finally:
        await connection.close()


async def _connect(connection: Connection, backend: BackendSettings) -> None:
    try:
        async with asyncio.timeout(backend.check_period):
            await connection.ready()
    except TimeoutError:
        tls = "core.backend.enable_TLS and the certificates" if backend.enable_TLS else "core.backend.enable_TLS"
        detail = f"no connection to {backend.addr} within {backend.check_period} s"
        raise _UnhealthyError("backend", detail, f"check that it runs, the firewall, and {tls}") from None
