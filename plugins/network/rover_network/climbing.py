"""`rover doctor --network`: what becomes of requests on this host, step by step, with ten of its own among them."""

import http.client
import http.server
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing

from rover_core.api import Diagnostic, Health, Profiler
from rover_core.errors import RoverError
from rover_core.model import Task, Telemetry
from rover_core.procfs import read_process
from rover_network.ladder import broken, lost

_SECONDS = 5.0
_LOOKS_EVERY_S = 0.2
_REQUESTS = 10
_PATH = "/rover-doctor"
_OWN = "http1"  # the protocol of its own requests


def climb(profiler: Profiler, protocols: Sequence[str], seconds: float = _SECONDS) -> Iterator[Diagnostic]:
    """Profile the whole host that long. Lines for each step, each loss, and what became of requests of its own."""
    try:
        seen = _profile(profiler, seconds)
    except RoverError as error:
        yield Diagnostic("network: steps", Health.PROBLEM, f"{error.what}: {error.why}", error.remedy)
        return
    if not protocols:
        remedy = "install one, for example: pip install 'rover-agent[http1]'"
        yield Diagnostic("network: protocols", Health.WARNING, "none is installed, so nothing is read", remedy)
    for step, count, wrong in broken(seen.steps):
        health = Health.WARNING if wrong else Health.OK
        text = f"{count / 1e6:,.0f} ms" if step.endswith(" ns") else f"{count:,}"
        yield Diagnostic(f"network: {step}", health, text, wrong)
    for cause, count, remedy in lost(seen.completeness):
        yield Diagnostic(f"network: {cause}", Health.WARNING, f"{count:,}", remedy)
    if _OWN in protocols:
        yield from map(_own, (seen, seen), ("client", "server"))


def _profile(profiler: Profiler, seconds: float) -> Telemetry:
    with closing(profiler):
        if myself := read_process(os.getpid()):  # who is not named would leave himself out
            profiler.start(Task("myself", profiler.name, (myself.key,)), [myself])
        profiler.start(Task("doctor", profiler.name), None)
        end = time.monotonic() + seconds
        _ask_myself()
        while time.monotonic() < end:
            time.sleep(_LOOKS_EVERY_S)
            profiler.tick()
        seen = profiler.stop("doctor")
    if not isinstance(seen, Telemetry):
        raise RoverError("nothing was measured")
    return seen


class _Answering(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def _ask_myself() -> None:
    """Requests whose number is known, over one connection."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
        for _ in range(_REQUESTS):
            client.request("GET", _PATH)
            client.getresponse().read()
        client.close()
        server.shutdown()


def _own(seen: Telemetry, role: str) -> Diagnostic:
    mine = [each for each in seen.operations if each.key.flow.process.pid == os.getpid()]
    found = sum(
        each.durations.count for each in mine if each.key.flow.role == role and each.key.operation == f"GET {_PATH}"
    )
    health = Health.OK if found == _REQUESTS else Health.PROBLEM
    remedy = "" if found == _REQUESTS else "the first step above that counts nothing is where they were lost"
    return Diagnostic(f"network: own requests, as {role}", health, f"{found} of {_REQUESTS} seen and paired", remedy)
