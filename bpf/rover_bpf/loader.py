"""Loading eBPF programs without living with a compiler: the parent's side of the loader child."""

import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from rover_bpf.loaderlog import compiler_error, verdicts
from rover_bpf.program import MapInfo, Program
from rover_bpf.source import ProgramSource
from rover_core.errors import RoverError

_HERE = Path(__file__).parent
_TIMEOUT_S = 120
_KEEP = "/var/cache/rover"
_NO_BCC = "install it with: apt-get install python3-bpfcc (the PyPI project named bcc is an unrelated one)"


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
    answer, descriptors, log = _run_child({**source.request(), "keep": _keep()})
    if "unfit" in answer:
        what, why, remedy = answer["unfit"]
        raise RoverError(
            what, why=why, remedy=remedy or f"please report it with the kernel's version, {platform.release()}"
        )
    refused = _refused(answer, log)
    if "error" not in answer and not source.functions.keys() - source.optional <= refused.keys():
        loaded = {**answer["functions"], **answer["extensions"]}
        functions = {n: descriptors[e["index"]] for n, e in loaded.items() if "index" in e}
        maps = {n: MapInfo(descriptors[e.pop("index")], **e) for n, e in answer["maps"].items()}
        return Program(functions, maps, {**refused, **_broken(answer["extensions"])}, log)
    for fd in descriptors:
        os.close(fd)
    reason = compiler_error(log) or "; ".join(dict.fromkeys(refused.values())) or answer["error"]
    raise _failure(source.path.name, reason, log)


def _keep() -> str:
    """Where compiled programs are kept: ROVER_PROGRAM_CACHE, "" for nowhere. Root's alone: who else may load programs
    would take them from files that everything else of that user may write."""
    return os.environ.get("ROVER_PROGRAM_CACHE", _KEEP if os.geteuid() == 0 else "")


def _refused(answer: dict[str, Any], log: str) -> dict[str, str]:
    """The functions that the kernel refused, each with the verifier's verdict on it."""
    refused = {name: entry["error"] for name, entry in answer.get("functions", {}).items() if "error" in entry}
    found = verdicts(log)
    # Each refused function has a log of its own, in the order of loading; without one BCC's words have to do.
    return dict(zip(refused, found, strict=True)) if len(found) == len(refused) else refused


def _broken(extensions: dict[str, Any]) -> dict[str, str]:
    """Why each extension that is not loaded is not."""
    return {
        name: compiler_error(entry["log"]) or "; ".join(verdicts(entry["log"])) or entry["error"]
        for name, entry in extensions.items()
        if "error" in entry
    }


def _failure(name: str, reason: str, log: str) -> RoverError:
    stage = "did not compile" if compiler_error(log) else "was refused by the kernel"
    remedy = "see `rover doctor`"
    if "Operation not permitted" in log or "EPERM" in reason:
        stage = "may not be loaded by this user"
        remedy = "run as root, or grant CAP_BPF and CAP_PERFMON; `rover doctor` shows what is missing"
    error = RoverError(f"the eBPF program {name} {stage}", why=reason, remedy=remedy)
    error.add_note(log)
    return error


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
