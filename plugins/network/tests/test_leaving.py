"""Tasks that come and go while what they watch is busy: everything is loaded, attached and let go each time."""

import signal
import subprocess
from pathlib import Path

import pytest
from end_to_end import until
from https import TlsNginx, make_certificate
from kernelobjects import ebpf_objects, holdings, left_since, resident_kb

from rover_core.model import Task
from rover_http1.plugin import rover_protocols
from rover_network.profiler import create
from rover_network.settings import NetworkSettings
from rover_network.tls.openssl import OpenSsl

pytestmark = [pytest.mark.kernel, pytest.mark.servers]


def test_tasks_come_and_go_under_load(tmp_path: Path) -> None:
    """Broken: each task leaves a process, descriptor, program, map, link, probe or memory behind, or the server that
    it watched, or a client, has an error."""
    make_certificate(tmp_path)
    server, host = TlsNginx(tmp_path), ebpf_objects()
    command = ["wrk", "-t1", "-c20", "-d600s", f"https://127.0.0.1:{server.port}/page"]
    load = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    profiler = create(NetworkSettings(), protocols=rover_protocols, tls_libraries=lambda: [OpenSsl()])

    def task() -> int:
        """The exchanges that it saw; it ends once it has seen some."""
        profiler.start(Task("comes and goes", "NETWORK"), None)
        seen = []
        until(lambda: profiler.tick() or seen.extend(profiler.drain()) or any(each.operations for each in seen))
        last = profiler.stop("comes and goes")
        assert last is not None
        return sum(operation.exchanges for each in (*seen, last) for operation in each.operations if operation.ssl)

    try:
        for _ in range(2):  # caches fill
            task()
        held, memory = holdings(), resident_kb()
        assert all(task() for _ in range(8))
        assert holdings() == held
        assert resident_kb() - memory < 4096
        until(lambda: not left_since(host))
        load.send_signal(signal.SIGINT)
        said = load.communicate(timeout=20)[0]
    finally:
        profiler.close()
        load.kill()
        load.communicate()
        server.close()
    assert int(said.partition(" requests in")[0].split()[-1])
    assert "Socket errors" not in said
    assert "Non-2xx" not in said
    assert {status for _, status in server.requests()} == {"200"}
