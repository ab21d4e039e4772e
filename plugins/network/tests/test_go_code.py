"""Where Go's crypto/tls can be probed: what its code tells, against Go's own disassembler, and what is refused."""

import os
import random
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from golang import go_setting

from rover_core.errors import RoverError
from rover_network.tls import go
from rover_network.tls.files import MappedElf
from rover_network.tls.go import GoTls
from rover_network.tls.gocode import AARCH64, X86_64, CodeError, probe_points
from rover_network.tls.programs import GO_HAS_READ, GO_HAS_READ_KEPT, GO_READ, GO_WRITE, GO_WRITTEN

PROLOGUE = bytes.fromhex("493b6610 7633 55 4889e5 4883ec10")  # is the stack large enough; push rbp; frame of 16 bytes
SAVE_FIRST, SAVE_SECOND = bytes.fromhex("4889442420"), bytes.fromhex("48895c2428")  # rax and rbx, to rsp + 32 and 40
CALL, LEAVE = bytes.fromhex("e800000000"), bytes.fromhex("4883c410 5d c3")


def opened(path: Path) -> MappedElf:
    return MappedElf(str(path), os.open(path, os.O_RDONLY))


@pytest.fixture
def command() -> Path:
    """A Go program that nobody here wrote, which asks over TLS."""
    return Path(go_setting("GOROOT"), "bin/go").resolve()


def test_every_return_instruction_and_nothing_else(command: Path) -> None:
    """Broken: a call ends unseen; or a byte of another instruction is overwritten, and the program ends."""
    shown = subprocess.run(
        [command, "tool", "objdump", "-s", r"^crypto/tls.\(\*Conn\).(Read|Write)$", command],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    expected: dict[str, list[int]] = {}
    for line in shown.splitlines():
        if line.startswith("TEXT"):
            places = expected.setdefault(line.split("(*Conn).")[1].split("(")[0], [])
        elif line.split()[3:4] == ["RET"]:
            places.append(int(line.split()[1], 16))
    with open(command, "rb") as file:
        head = file.read(1 << 16)
    shift = text_shift(head)
    probes = GoTls().probes(opened(command))
    returns = {"Read": (GO_HAS_READ, GO_HAS_READ_KEPT), "Write": (GO_WRITTEN,)}
    found = {
        name: sorted(each.offset + shift for each in probes if each.function in functions)
        for name, functions in returns.items()
    }
    assert found == {name: sorted(places) for name, places in expected.items()}
    assert len(found["Read"]) > 3
    assert not any(each.on_return for each in probes), "a uretprobe ends a Go program"


def text_shift(head: bytes) -> int:
    """By how much addresses of the executable segment are above its place in the file (ELF64, little endian)."""
    begin, count = struct.unpack_from("<Q", head, 32)[0], struct.unpack_from("<H", head, 56)[0]
    for at in range(begin, begin + 56 * count, 56):
        kind, flags, offset, address = struct.unpack_from("<IIQQ", head, at)
        if kind == 1 and flags & 1:
            return int(address - offset)
    raise AssertionError("no code")


def test_arguments_on_the_stack_are_believed_only_if_nothing_can_have_changed_them() -> None:
    """Broken: after a change of Go's compiler, whatever is at that place is taken for the buffer."""
    code = {
        "kept": PROLOGUE + SAVE_SECOND + SAVE_FIRST + CALL + LEAVE,
        "saved too late": PROLOGUE + SAVE_FIRST + CALL + SAVE_SECOND + LEAVE,
        "not saved": PROLOGUE + SAVE_FIRST + CALL + LEAVE,
        "written again": PROLOGUE + SAVE_FIRST + SAVE_SECOND + CALL + SAVE_SECOND + LEAVE,
        "overlapped": PROLOGUE + SAVE_FIRST + SAVE_SECOND + CALL + bytes.fromhex("c644242900") + LEAVE,
        "elsewhere": PROLOGUE + SAVE_FIRST + bytes.fromhex("48895c2430") + CALL + LEAVE,
        "pointed to": PROLOGUE + SAVE_FIRST + SAVE_SECOND + bytes.fromhex("488d442428") + CALL + LEAVE,
    }
    points = probe_points(X86_64, code)
    assert {name for name, each in points.items() if each.keeps} == {"kept"}
    assert {each.entry for each in points.values()} == {4}
    assert all(each.returns == (len(code[name]) - 1,) for name, each in points.items())


def test_code_that_makes_no_sense_is_refused() -> None:
    """Broken: a hostile program ends the agent, or has probes where there is no instruction."""
    noise = random.Random(7).randbytes(5000)
    for code, machine, why in (
        (noise, X86_64, "an instruction that nobody knows"),
        (b"\x90" * 64, X86_64, "never returns"),
        (b"", X86_64, "never returns"),
        (PROLOGUE + LEAVE, 8, "is not known"),
    ):
        with pytest.raises(CodeError, match=why):
            probe_points(machine, {"f": code})
    assert probe_points(AARCH64, {"f": bytes.fromhex("1f2003d5 c0035fd6")})["f"].returns == (4,)


@pytest.mark.parametrize(
    ("version", "machine", "why"),
    [
        ("go1.17", X86_64, ""),
        ("go1.21.3 X:boringcrypto", X86_64, ""),
        ("devel go1.27-0123abc Mon Jan 5", X86_64, ""),
        ("go1.18", AARCH64, ""),
        ("go1.16.15", X86_64, "on the stack; from Go 1.17 on"),
        ("go1.17.1 X:noregabi", X86_64, "on the stack"),
        ("go1.17.1", AARCH64, "from Go 1.18 on"),
        ("devel +0123abc", X86_64, "does not say which release"),
        ("", X86_64, "no build information"),
    ],
)
def test_releases(version: str, machine: int, why: str) -> None:
    """Broken: arguments are looked for in registers where they are not."""
    if not why:
        return go._check(version, machine)
    with pytest.raises(CodeError, match=why):
        go._check(version, machine)
    return None


def test_where_arguments_are_not_kept_the_begin_is_probed(command: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: with a compiler that keeps arguments elsewhere nothing is read."""
    kept = {each.function for each in GoTls().probes(opened(command))}
    assert kept == {GO_HAS_READ_KEPT, GO_WRITE, GO_WRITTEN}
    monkeypatch.setattr(
        go, "probe_points", lambda *a: {name: replace(each, keeps=False) for name, each in probe_points(*a).items()}
    )
    assert {each.function for each in GoTls().probes(opened(command))} == {GO_READ, GO_HAS_READ, GO_WRITE, GO_WRITTEN}


def test_without_a_disassembler(command: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: it is not said why Go programs are not read."""
    monkeypatch.setattr("rover_network.tls.gocode.sys.executable", "/bin/false")
    with pytest.raises(RoverError) as refused:
        GoTls().probes(opened(command))
    assert refused.value.why == "the disassembler failed"
