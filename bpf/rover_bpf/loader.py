"""Loading eBPF programs without living with a compiler: the parent's side of the loader child."""

import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from rover_core.errors import RoverError

_HERE = Path(__file__).parent
_TIMEOUT_S = 120
_INCLUDE = re.compile(r"\s*#\s*include\s*<(rover/[\w./]+)>")
_NO_BCC = "install it with: apt-get install python3-bpfcc (the PyPI project named bcc is an unrelated one)"


@dataclass(frozen=True, slots=True)
class ProgramSource:
    """One eBPF program to compile.

    functions: name -> program type as BCC names it (`PERF_EVENT`, `RAW_TRACEPOINT`, `TRACEPOINT`, `KPROBE`).
    members: kernel structure members whose offsets the program uses, as (structure, member): each becomes the
    constant ROVER_OFFSET_<structure>_<member>, dots as underscores.
    defines: further constants. include: folders of the program's own headers.
    """

    path: Path
    functions: Mapping[str, str]
    members: tuple[tuple[str, str], ...] = ()
    defines: Mapping[str, str] = field(default_factory=dict)
    include: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class MapInfo:
    """A map of a loaded program. Sizes in bytes; `type` is enum bpf_map_type."""

    fd: int
    type: int
    key_size: int
    value_size: int
    max_entries: int


class Program:
    """A loaded program: descriptors of its functions and maps. Closing them lets the kernel free it all.

    errors: the functions that the kernel refused, with its reason.
    """

    def __init__(
        self, functions: Mapping[str, int], maps: Mapping[str, MapInfo], errors: Mapping[str, str], log: str
    ) -> None:
        self.functions = functions
        self.maps = maps
        self.errors = errors
        self.log = log

    def close(self) -> None:
        for fd in [*self.functions.values(), *(info.fd for info in self.maps.values())]:
            os.close(fd)
        self.functions, self.maps = {}, {}

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@cache
def find_bcc_python() -> str:
    """The interpreter that can import the distribution's bcc: ROVER_BCC_PYTHON, ours, or the system's.

    Raises RoverError when none can.
    """
    named = os.environ.get("ROVER_BCC_PYTHON")
    candidates = [named] if named else [sys.executable, "/usr/bin/python3", shutil.which("python3") or ""]
    for python in dict.fromkeys(filter(None, candidates)):
        # libbcc is what tells the real one from its namesake on PyPI.
        probe = [python, "-I", "-c", "import importlib.util as u; raise SystemExit(not u.find_spec('bcc.libbcc'))"]
        try:
            if subprocess.run(probe, capture_output=True, timeout=30, check=False).returncode == 0:
                return python
        except OSError:
            continue
    raise RoverError(
        "BCC, which compiles Rover's eBPF programs, is not installed",
        why=f"no bcc for {', '.join(dict.fromkeys(filter(None, candidates)))}",
        remedy=_NO_BCC,
    )


def load(source: ProgramSource) -> Program:
    """Compile and load. Blocks for 0.3 s and more: call it from a thread.

    Raises RoverError with the compiler's or the verifier's own words (in full in its `log` note).
    """
    answer, descriptors, log = _run_child(_request(source))
    if "unfit" in answer:
        what, why, remedy = answer["unfit"]
        raise RoverError(
            what, why=why, remedy=remedy or f"please report it with the kernel's version, {platform.release()}"
        )
    error = answer.get("error")
    refused = {
        name: _gist(log, entry["error"]) for name, entry in answer.get("functions", {}).items() if "error" in entry
    }
    if error is None and len(refused) < len(source.functions):
        functions = {n: descriptors[e["index"]] for n, e in answer["functions"].items() if "index" in e}
        maps = {n: MapInfo(descriptors[e.pop("index")], **e) for n, e in answer["maps"].items()}
        return Program(functions, maps, refused, log)
    for fd in descriptors:
        os.close(fd)
    reason = _gist(log, error) if error is not None else "; ".join(dict.fromkeys(refused.values()))
    raise _failure(source.path.name, reason, log)


def _failure(name: str, reason: str, log: str) -> RoverError:
    stage = "did not compile" if "error:" in log else "was refused by the kernel"
    remedy = "see `rover doctor`"
    if "Operation not permitted" in log or "EPERM" in reason:
        stage = "may not be loaded by this user"
        remedy = "run as root, or grant CAP_BPF and CAP_PERFMON; `rover doctor` shows what is missing"
    error = RoverError(f"the eBPF program {name} {stage}", why=reason, remedy=remedy)
    error.add_note(log)
    return error


def _request(source: ProgramSource) -> dict[str, Any]:
    defines = {**kernel_defines(), **source.defines}
    include = [_HERE / "kernel/include", source.path.parent, *source.include]
    cflags = [f"-I{folder}" for folder in include] + [f"-D{name}={value}" for name, value in defines.items()]
    return {
        "kernel": str(_HERE / "kernel"),
        "text": inline_headers(source.path, include),
        "members": source.members,
        "cflags": cflags,
        "functions": dict(source.functions),
    }


def inline_headers(path: Path, include: Sequence[Path]) -> str:
    """The program's text with the `rover/` headers it includes in place, each once.

    BCC rewrites map operations in the main file alone (its BTypeVisitor skips headers), and shared code that counts
    stacks lives in headers. #line keeps the compiler's messages pointing at the right file and line.
    """
    seen: set[Path] = set()

    def expand(file: Path) -> Iterator[str]:
        seen.add(file)
        yield f'#line 1 "{file.name}"'
        for number, line in enumerate(file.read_text().splitlines(), 1):
            match = _INCLUDE.match(line)
            header = (
                next((folder / match[1] for folder in include if (folder / match[1]).exists()), None)
                if match
                else None
            )
            if header is None:
                yield "" if line.startswith("#pragma once") else line
            elif header not in seen:
                yield from expand(header)
                yield f'#line {number + 1} "{file.name}"'

    return "\n".join(expand(path)) + "\n"


def kernel_defines() -> dict[str, str]:
    """Constants of the running kernel that headers would otherwise bring."""
    numbers = [*platform.release().split("-")[0].split("."), "0", "0"][:3]
    version, patch, sub = (int("".join(filter(str.isdigit, part)) or 0) for part in numbers)
    code = (version << 16) + (patch << 8) + min(sub, 255)
    return {"LINUX_VERSION_CODE": str(code), "PAGE_SHIFT": str(os.sysconf("SC_PAGE_SIZE").bit_length() - 1)}


def _run_child(request: dict[str, Any]) -> tuple[dict[str, Any], list[int], str]:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            child = subprocess.Popen(
                [find_bcc_python(), "-I", str(_HERE / "loader_child.py")],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                process_group=0,  # Ctrl-C is for the agent, which finishes what it has begun
            )
        ours.settimeout(_TIMEOUT_S)
        with child:
            try:
                return _converse(child, ours, request)
            finally:
                child.kill()  # no effect on one that has ended; never leave one behind


def _converse(
    child: subprocess.Popen[bytes], channel: socket.socket, request: dict[str, Any]
) -> tuple[dict[str, Any], list[int], str]:
    from threading import Thread

    log: list[bytes] = []
    assert child.stderr is not None
    # The verifier's log may exceed a pipe's buffer, so it is read while the answer is awaited.
    reader = Thread(target=lambda stream: log.append(stream.read()), args=(child.stderr,), daemon=True)
    reader.start()
    body, descriptors = b"", []
    try:
        channel.sendall(json.dumps(request).encode())
        channel.shutdown(socket.SHUT_WR)
        while True:
            chunk, fds, _, _ = socket.recv_fds(channel, 1 << 16, 253)
            descriptors.extend(fds)
            if not chunk:
                break
            body += chunk
    except TimeoutError:
        child.kill()
    except ConnectionError:
        pass  # the child ended early, with or without having read the request; what it said is below
    reader.join(timeout=5)
    text = b"".join(log).decode(errors="replace")
    body = body.lstrip(b"\0")
    if not body:
        for fd in descriptors:
            os.close(fd)
        raise _ended(child.wait(), text)
    return json.loads(body), descriptors, text


def _ended(status: int, text: str) -> RoverError:
    """The child is gone without an answer."""
    killed = f"it was ended by {signal.Signals(-status).name}" if status < 0 else f"it ended with status {status}"
    error = RoverError(
        "the loader of eBPF programs did not finish",
        why=f"{killed}, saying {text.strip()[-300:] or 'nothing'}",
        remedy="a compilation needs 150 MB of memory and two seconds: `dmesg` tells whether the kernel ended it",
    )
    error.add_note(text)
    return error


def _gist(log: str, fallback: str) -> str:
    """The sentence that matters out of a compiler's or a verifier's log."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line]
    if errors:
        return errors[0]
    verdict = [line for line in lines if not line.startswith("processed ")]
    if verdict and "Failed to load" in log:
        return verdict[-1] if len(verdict) > 1 else verdict[0]
    return fallback
