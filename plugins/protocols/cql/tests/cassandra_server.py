"""Apache Cassandra, of Maven Central's jars: fetched once (66 MB), started in a folder of its own in 20 seconds."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from end_to_end import until
from nginx import free_port

HERE = Path(__file__).parent
LIBRARIES = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rover" / "cassandra"
CONFIGURATION = """
cluster_name: rover
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
commitlog_sync: periodic
commitlog_sync_period: 10s
endpoint_snitch: SimpleSnitch
listen_address: 127.0.0.1
rpc_address: 127.0.0.1
storage_port: {internal}
ssl_storage_port: {secure}
native_transport_port: {port}
native_transport_max_threads: 8
auto_snapshot: false
memtable_heap_space: 64MiB
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{{seeds: "127.0.0.1:{internal}"}}]
"""
LOG = """<configuration>
  <appender name="log" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%level %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="log"/></root>
</configuration>"""
MEMORY = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC")


@contextmanager
def cassandra(folder: Path) -> Iterator[tuple[int, int]]:
    """Port and pid of a server that answers; it ends with the context."""
    java, maven = shutil.which("java"), shutil.which("mvn")
    if not java or not maven:
        pytest.skip("java and mvn are not installed")
    if not list(LIBRARIES.glob("cassandra-all-*.jar")):
        command = [
            maven,
            "-q",
            "-B",
            "-f",
            HERE / "pom.xml",
            "dependency:copy-dependencies",
            f"-DoutputDirectory={LIBRARIES}",
        ]
        subprocess.run(command, check=True, timeout=300)
    port = free_port()
    (folder / "cassandra.yaml").write_text(CONFIGURATION.format(port=port, internal=free_port(), secure=free_port()))
    (folder / "logback.xml").write_text(LOG)
    (agent,) = LIBRARIES.glob("jamm-*.jar")
    properties = {
        "cassandra.config": f"file://{folder}/cassandra.yaml",
        "cassandra.storagedir": folder / "data",
        "logback.configurationFile": f"file://{folder}/logback.xml",
        "cassandra-foreground": "yes",
        "cassandra.skip_wait_for_gossip_to_settle": "0",
        "cassandra.ring_delay_ms": "0",
    }
    command = [java, *MEMORY, f"@{HERE / 'jvm.options'}", f"-javaagent:{agent}"]
    command += [f"-D{name}={value}" for name, value in properties.items()]
    command += ["-cp", f"{LIBRARIES}/*", "org.apache.cassandra.service.CassandraDaemon"]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    try:
        until(lambda: _answers(port) or process.poll() is not None, within_s=180)
        assert process.poll() is None, log.read_text()[-2000:]
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(60)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
