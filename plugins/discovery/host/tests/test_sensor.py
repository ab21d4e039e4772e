"""Processes as the SkyWalking agents inside them say who they are."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover_core.logs import configure_logs
from rover_core.model import Entity, Process
from rover_core.procfs import read_process
from rover_discovery_host.discoverer import HostDiscoverer
from rover_discovery_host.properties_file import parse_properties
from rover_discovery_host.sensor import AgentSensor
from rover_discovery_host.settings import HostSettings

FILE = """\
# of an agent
layer=GENERAL
service_name = shop\\:\\:web
instance_name: f00@10.0.0.1
process_name Java-\\u00e9
labels=a, b,
language=java
properties={"version": "1.2", "replica": 3}
"""
ENTITY = Entity("GENERAL", "shop::web", "f00@10.0.0.1", "Java-é", ("a", "b"))
MINUTE = 60 * 10**9


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a=b", {"a": "b"}),
        ("  a : b  \r\n!c=d\n#e\n\n", {"a": "b  "}),
        ("a b c\nd\ne=\n", {"a": "b c", "d": "", "e": ""}),
        ("a\\=b\\ c=d\\te", {"a=b c": "d\te"}),
        ("a = x\\\n    y\\\n\tz\nb=c\\\\\nd=e", {"a": "xyz", "b": "c\\", "d": "e"}),
        ("k=\\u0041\\u00zz", {"k": "Au00zz"}),
        ("a=1\na=2", {"a": "2"}),
    ],
)
def test_javas_format_is_read_as_java_reads_it(text: str, values: dict[str, str]) -> None:
    """Broken: names with colons or letters beyond ASCII arrive mutilated."""
    assert parse_properties(text) == values


@given(st.text(alphabet="ab=: \\\n\r\t#!u0é", max_size=80))
def test_any_text_is_properties(text: str) -> None:
    """Broken: some file stops the scan."""
    assert isinstance(parse_properties(text), dict)


class Agent:
    """A process with a TMPDIR of its own, and the file that an agent in it would write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.child = subprocess.Popen(["sleep", "600"], env={"TMPDIR": str(folder)})
        self.file = folder / f"apache_skywalking/process/{self.child.pid}/metadata.properties"

    def write(self, text: str = FILE) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(text)

    @property
    def process(self) -> Process:
        deadline = time.monotonic() + 10
        while (process := read_process(self.child.pid)) is None or process.comm != "sleep":
            assert time.monotonic() < deadline
        return process


@pytest.fixture
def agent(tmp_path: Path) -> "Agent":
    made = Agent(tmp_path)
    yield made
    made.child.kill()
    made.child.wait()


def look(agent: Agent, refresh_ns: int = MINUTE) -> Entity | None:
    process = agent.process
    sensed = AgentSensor(Path("/proc"), refresh_ns).look([process]).get(process.key)
    return sensed.entity if sensed else None


def test_an_agents_file_says_who_its_process_is(agent: Agent) -> None:
    """Broken: the eBPF agent and the language agent report one process as two."""
    settings = HostSettings(mode=("AGENT_SENSOR",))
    discoverer = HostDiscoverer(settings, period_ns=0)
    key = agent.process.key
    assert next(each for each in discoverer.scan() if each.key == key).entities == ()
    agent.write()
    found = next(each for each in discoverer.scan() if each.key == key)
    assert found.entities == (ENTITY,)
    properties = dict(found.properties)
    assert (properties["language"], properties["version"], properties["replica"]) == ("java", "1.2", "3")
    assert properties["pid"] == str(key.pid)
    assert next(each for each in discoverer.scan() if each.key == key) is found
    agent.write(FILE.replace("GENERAL", "MESH"))
    assert next(each for each in discoverer.scan() if each.key == key).entities[0].layer == "MESH"
    os.utime(agent.file, (1, 1))
    assert next(each for each in discoverer.scan() if each.key == key).entities == (), "the agent is gone"


def test_only_fresh_files_count(agent: Agent) -> None:
    """Broken: what a process of this pid was last week is what this one is."""
    agent.write()
    assert look(agent) == ENTITY
    os.utime(agent.file, (time.time() - 61, time.time() - 61))
    assert look(agent) is None
    assert look(agent, 2 * MINUTE) == ENTITY


def test_a_file_that_is_not_complete_is_said_once(agent: Agent, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a half-written file makes an entity without a name, or a line in the log every three seconds."""
    configure_logs("WARNING", "json")
    sensor = AgentSensor(Path("/proc"), MINUTE)
    for number in range(3):
        agent.write(f"layer=GENERAL\nservice_name=web{number}\nproperties=" + "[" * 9000)
        assert sensor.look([agent.process]) == {}
    assert capsys.readouterr().err.count("instance_name, process_name") == 1


def test_what_a_hostile_process_puts_there_leads_nowhere(agent: Agent, tmp_path: Path) -> None:
    """Broken: a process has the agent read files it may not, or stops the scan for good."""
    secret = tmp_path / "secret"
    secret.write_text(FILE)
    agent.write()
    agent.file.unlink()
    agent.file.symlink_to(secret)
    assert look(agent) is None, "a link"
    agent.file.unlink()
    os.mkfifo(agent.file)
    assert look(agent) is None, "a pipe, whose open would block"
    agent.file.unlink()
    agent.file.mkdir()
    assert look(agent) is None
    agent.file.rmdir()
    agent.write(FILE + "x=" + "y" * 10**6)
    assert look(agent) == ENTITY, "what is beyond 64 KB is not read"
    agent.write(FILE.replace("shop", "\\ud800" + "z" * 10**4))
    found = look(agent)
    assert found is not None
    assert len(found.service.encode()) <= 1024
    folder = tmp_path / "apache_skywalking"
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert look(agent) is None, "a link on the way"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user's file")
def test_another_users_file_says_nothing(agent: Agent) -> None:
    """Broken: anybody who may write to /tmp decides what others' processes are called."""
    agent.write()
    os.chown(agent.file, 65534, 65534)
    assert look(agent) is None


@pytest.mark.kernel
def test_a_process_in_a_container_goes_by_its_own_pid(
    tmp_path: Path, start: Callable[..., "subprocess.Popen[str]"]
) -> None:
    """Broken: agents in containers, which know their own pid and their own /tmp only, are not found."""
    inner = (
        'mount -t tmpfs none /tmp && mkdir -p "/tmp/apache_skywalking/process/$$"'
        ' && printf "%s" "$1" > "/tmp/apache_skywalking/process/$$/metadata.properties" && exec sleep 600'
    )
    unshare = start("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", inner, "sh", FILE)
    deadline, sensor = time.monotonic() + 20, AgentSensor(Path("/proc"), MINUTE)
    while True:
        children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children").read_text().split()
        process = read_process(int(children[0])) if children else None
        found = sensor.look([process]) if process else {}
        if process and found:
            assert found[process.key].entity == ENTITY
            break
        assert time.monotonic() < deadline, "the container's process was not found"
        time.sleep(0.05)
