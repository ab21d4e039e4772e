"""What a process is to a backend: its properties, its container, whether it can be profiled, what is kept secret."""

import ipaddress
import json
import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st

from rover_core.identity import profilable
from rover_core.identity.agent import agent_id, host_ip, host_ipv4, host_ipv6
from rover_core.identity.containers import Container, container_of
from rover_core.identity.profilable import Profilability, has_symbols
from rover_core.identity.properties import Properties
from rover_core.identity.redaction import MAX_LENGTH, command_line
from rover_core.identity.vocabulary import exe_name
from rover_core.model import Process, ProcessKey
from rover_core.procfs import read_process

ID = "0123456789abcdef" * 4
INNER = "fedcba9876543210" * 4


@pytest.mark.parametrize(
    ("cgroup", "runtime", "name"),
    [
        (f"12:cpu,cpuacct:/docker/{ID}\n11:pids:/docker/{ID}\n", "docker", ID),
        (f"0::/system.slice/docker-{ID}.scope\n", "docker", ID),
        (f"0::/system.slice/docker-{ID}.scope/init.scope\n", "docker", ID),
        (f"0::/docker/{ID}/docker/{INNER}\n", "docker", INNER),
        (f"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope\n", "containerd", ID),
        (f"0::/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{ID}\n", "containerd", ID),
        (f"4:memory:/kubepods/burstable/pod0c1e/{ID}\n", "kubernetes", ID),
        (f"0::/kubepods.slice/kubepods-pod1.slice/{ID}\n", "kubernetes", ID),
        (f"0::/kubepods.slice/kubepods-besteffort.slice/crio-{ID}.scope/container\n", "cri-o", ID),
        (f"0::/default/{ID}\n", "containerd", ID),
        (f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container\n", "podman", ID),
        (f"0::/machine.slice/libpod-{ID}.scope\n", "podman", ID),
        (f"3:freezer:/libpod_parent/libpod-{ID}\n", "podman", ID),
        (f"0::/../../system.slice/docker-{ID}.scope\n", "docker", ID),
        ("0::/machine.slice/systemd-nspawn@web.service/payload/system.slice\n", "systemd-nspawn", "web"),
        ("0::/machine.slice/machine-my\\x2dbox.scope/payload\n", "systemd-nspawn", "my-box"),
        ("0::/lxc.payload.alpine/system.slice/cron.service\n", "lxc", "alpine"),
        ("7:cpu:/lxc/alpine\n", "lxc", "alpine"),
        (f"0::/ecs/{ID[:32]}/{ID[:32]}-3412345678\n", "ecs", f"{ID[:32]}-3412345678"),
    ],
)
def test_containers_are_known_by_their_control_groups(cgroup: str, runtime: str, name: str) -> None:
    """Broken: a backend does not learn in which container a process is."""
    assert container_of(cgroup) == Container(name, runtime)


@pytest.mark.parametrize(
    "cgroup",
    [
        "",
        "0::/\n",
        "0::/system.slice/docker.service\n",
        "0::/user.slice/user-0.slice/session-1.scope\n",
        f"0::/machine.slice/libpod-conmon-{ID}.scope\n",
        f"0::/kubepods.slice/crio-conmon-{ID}.scope\n",
        "0::/docker/buildkit\n",
        f"0::/system.slice/app-{ID[:12]}.scope\n",
        "nonsense\n::::\n" + "/" * 10_000,
    ],
)
def test_what_is_no_container_is_none(cgroup: str) -> None:
    """Broken: services of the host are taken for containers."""
    assert container_of(cgroup) is None


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("app --password=x --port=1", "app --password=*** --port=1"),
        ("app --db.password hunter2 -v", "app --db.password *** -v"),
        ("java -DdbPassword=x -Dsys.password=y Main", "java -DdbPassword=*** -Dsys.password=*** Main"),
        (
            "env API_KEY=a AWS_SECRET_ACCESS_KEY=b PATH=/bin x",
            "env API_KEY=*** AWS_SECRET_ACCESS_KEY=*** PATH=/bin x",
        ),
        ("app --password-file /run/x --token-ttl 5", "app --password-file /run/x --token-ttl 5"),
        ("psql postgres://me:pw@db:5432/x?a=b", "psql postgres://me:***@db:5432/x?a=b"),
        ("mysql -uroot -psecret -h db", "mysql -uroot -p*** -h db"),
        ("mkdir -psecret", "mkdir -psecret"),
        ("redis-cli -a x ping", "redis-cli -a *** ping"),
        ("sshpass -p x ssh host", "sshpass -p *** ssh host"),
        ("app --token --verbose", "app --token --verbose"),
        ("curl -H X-Auth-Token:abc http://x", "curl -H X-Auth-Token:*** http://x"),
    ],
)
def test_obvious_secrets_do_not_leave_the_host(words: str, shown: str) -> None:
    """Broken: a database's password is in a backend's process list."""
    assert command_line(words.split(), redacted=True).startswith(shown)
    assert command_line(words.split(), redacted=False) == words


@given(st.lists(st.text(max_size=50), max_size=8))
def test_any_command_line_is_bounded(words: list[str]) -> None:
    """Broken: some argument stops the scan, or a megabyte of them goes to the backend."""
    assert len(command_line([*words, "--password=" + "x" * 5000], redacted=True)) <= MAX_LENGTH


def test_a_hostile_command_line_takes_little_time() -> None:
    """Broken: expressions that backtrack over hundreds of kilobytes hold up every scan."""
    start_s = time.process_time()
    for word in ("pass" * 100_000, "a" * 400_000, "a://" * 100_000, "-" * 400_000, "token= " * 50_000):
        command_line([word, word], redacted=True)
    assert time.process_time() - start_s < 5, "it takes 0.1 s"


@pytest.mark.parametrize(
    ("comm", "cmdline", "name"),
    [
        ("nginx", ("nginx: worker process",), "nginx"),
        ("a-very-long-nam", ("/opt/a-very-long-name", "-x"), "a-very-long-name"),
        ("a-very-long-nam", ("other", "-x"), "other"),
        ("a-very-long-nam", (), "a-very-long-nam"),
    ],
)
def test_the_executables_name_is_the_contracts(comm: str, cmdline: tuple[str, ...], name: str) -> None:
    """Broken: `{{.Process.ExeName}}` names processes otherwise than the Go agent does."""
    assert exe_name(Process(ProcessKey(1, 1), 0, comm, None, cmdline, 0)) == name


def _symbols_by_pyelftools(path: Path) -> bool:
    with path.open("rb") as file:
        sections = ELFFile(file).iter_sections()
        return any(each.num_symbols() > 1 for each in sections if each["sh_type"] in ("SHT_SYMTAB", "SHT_DYNSYM"))


def test_symbols_are_seen_where_pyelftools_sees_them(tmp_path: Path) -> None:
    """Broken: a backend is told that a program cannot be profiled which can, or the other way round."""
    source = tmp_path / "x.c"
    source.write_text("int main(void) { return 0; }")
    for name, flags in {"plain": [], "stripped": ["-s"], "static": ["-static"], "bare": ["-static", "-s"]}.items():
        subprocess.run(["gcc", *flags, "-o", tmp_path / name, source], check=True)
    found = {path.name: has_symbols(str(path)) for path in tmp_path.iterdir() if path != source}
    assert found == {path.name: _symbols_by_pyelftools(path) for path in tmp_path.iterdir() if path != source}
    assert [found[name] for name in ("plain", "stripped", "static", "bare")] == [True, True, True, False]
    for path in (Path("/bin", name).resolve() for name in ("ls", "gcc", "bash", "perl")):
        assert not path.exists() or has_symbols(str(path)) == _symbols_by_pyelftools(path), path


def test_files_that_are_no_programs_have_no_symbols(tmp_path: Path) -> None:
    """Broken: an odd file stops the scan, blocks it, or takes all memory."""
    image = bytearray(Path("/bin/ls").resolve().read_bytes())
    for name, content in {
        "empty": b"",
        "text": b"#!/bin/sh\n",
        "cut": bytes(image[:50]),
        "huge": bytes(image[:40]) + struct.pack("<Q", 1 << 61) + bytes(image[48:]),
        "beyond": bytes(image[:40]) + struct.pack("<Q", 1 << 40) + bytes(image[48:]),
        "odd": bytes(image[:58]) + struct.pack("<HH", 7, 65535) + bytes(image[62:]),
        "class": b"\x7fELF\x07" + bytes(image[5:]),
    }.items():
        (tmp_path / name).write_bytes(content)
        assert not has_symbols(str(tmp_path / name)), name
    os.mkfifo(tmp_path / "pipe")
    assert not has_symbols(str(tmp_path / "pipe"))


def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a scan of a thousand processes of one program reads the program a thousand times."""
    read: list[str] = []
    monkeypatch.setattr(profilable, "has_symbols", lambda path: (read.append(path), True)[1])
    program = tmp_path / "app"
    shutil.copy("/bin/sleep", program)
    for pid in range(1, 5):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "exe").symlink_to(program)
    known = Profilability()
    assert [known.objection(f"{tmp_path}/{pid}") for pid in range(1, 5)] == [""] * 4
    assert len(read) == 1
    os.utime(program, ns=(1, 1))
    assert known.objection(f"{tmp_path}/1") == ""
    assert len(read) == 2, "a program that was replaced is another one"
    assert "cannot be read" in known.objection(f"{tmp_path}/9")


def test_an_interpreter_counts_once_it_writes_a_perf_map(start: Callable[..., "subprocess.Popen[str]"]) -> None:
    """Broken: a Node.js service with --perf-basic-prof gets no tasks; or a Python one without names does."""
    child = start("python3", "-c", "input()")
    directory, known = f"/proc/{child.pid}", Profilability()
    deadline = time.monotonic() + 10
    while not os.readlink(f"{directory}/exe").rsplit("/", 1)[-1].startswith("python"):
        assert time.monotonic() < deadline
    assert "begins with python" in known.objection(directory)
    perf_map = Path(f"/tmp/perf-{child.pid}.map")
    try:
        perf_map.write_text("1000 10 f\n")
        assert known.objection(directory) == ""
        if os.geteuid() == 0:
            os.chown(perf_map, 65534, 65534)
            assert "begins with python" in known.objection(directory), "somebody else's file says nothing of it"
    finally:
        perf_map.unlink()


def test_the_properties_of_this_process() -> None:
    """Broken: a backend is sent other keys than it knows, or other values than `ps` and `ip` show."""
    process = read_process(os.getpid())
    assert process is not None
    found = dict(Properties(Path("/proc")).of(process))
    assert list(found)[:4] == ["host_ip", "pid", "command_line", "support_ebpf_profiling"]
    assert found["pid"] == str(os.getpid())
    shown = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(os.getpid())], capture_output=True, text=True)
    assert found["command_line"] == shown.stdout.strip()
    assert found["support_ebpf_profiling"] == "false"
    assert ipaddress.ip_address(found["host_ip"])


def test_addresses_are_those_that_ip_shows() -> None:
    """Broken: instances are named after another address than the host has."""
    assert host_ipv4("lo") == "127.0.0.1"
    assert host_ipv4("en0-is-not-here") == host_ipv6("no") == ""
    if shutil.which("ip"):
        shown = json.loads(subprocess.run(["ip", "-j", "addr"], capture_output=True, text=True, check=True).stdout)
        assert shown, "no interface"
        for interface in shown:
            addresses = {entry["local"] for entry in interface["addr_info"] if entry.get("family") == "inet"}
            assert host_ipv4(interface["ifname"]) in (addresses or {""})
            addresses = {entry["local"] for entry in interface["addr_info"] if entry.get("family") == "inet6"}
            assert host_ipv6(interface["ifname"]) in (addresses or {""})
    others = [address for _, name in socket.if_nameindex() if name != "lo" and (address := host_ipv4(name))]
    assert host_ip() == (others or ["127.0.0.1"])[0]
    assert agent_id() == agent_id()
