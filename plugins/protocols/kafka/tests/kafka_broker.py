"""Apache Kafka in KRaft mode, of Maven Central's jars: fetched once (46 MB), started in some ten seconds."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from end_to_end import until
from nginx import free_port

POM = Path(__file__).with_name("pom.xml")
LIBRARIES = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rover" / "kafka"
CLUSTER = "Um92ZXItb2YtdGhlLXRlc3Q"
PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},INNER://127.0.0.1:{inner},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},INNER://127.0.0.1:{secure}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,INNER:PLAINTEXT
log.dirs={folder}/data
num.partitions=2
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
"""
MEMORY = ("-Xmx256m", "-XX:+UseSerialGC")


class Broker(NamedTuple):
    """inner: a port that sends clients on to `secure`, where a proxy may listen."""

    port: int
    pid: int
    inner: int
    secure: int


@contextmanager
def kafka(folder: Path) -> Iterator[Broker]:
    """A broker that answers; it ends with the context."""
    java, maven = shutil.which("java"), shutil.which("mvn")
    if not java or not maven:
        pytest.skip("java and mvn are not installed")
    if not list(LIBRARIES.glob("kafka_*.jar")):
        copy = [maven, "-q", "-B", "-f", POM, "dependency:copy-dependencies", f"-DoutputDirectory={LIBRARIES}"]
        subprocess.run(copy, check=True, timeout=300)
    names = ("port", "inner", "secure", "controller")
    ports = {name: free_port() for name in names}
    port = ports["port"]
    properties = folder / "server.properties"
    properties.write_text(PROPERTIES.format(**ports, folder=folder))
    command = [java, *MEMORY, "-cp", f"{LIBRARIES}/*"]
    with (folder / "log").open("wb") as log:
        prepare = [*command, "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", properties]
        subprocess.run(prepare, check=True, timeout=120, stdout=log, stderr=log)
        process = subprocess.Popen([*command, "kafka.Kafka", properties], cwd=folder, stdout=log, stderr=log)
    try:
        until(lambda: _answers(port) or process.poll() is not None, within_s=120)
        assert process.poll() is None, (folder / "log").read_text()[-2000:]
        yield Broker(port, process.pid, ports["inner"], ports["secure"])
    finally:
        process.terminate()
        process.wait(60)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
