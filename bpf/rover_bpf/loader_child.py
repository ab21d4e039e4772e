"""The loader: compiles and loads one program with BCC, hands its file descriptors back, and exits.

Runs as a program of its own (`python3 -I loader_child.py`), under whichever interpreter has the distribution's
`bcc`, so it imports nothing but the standard library, bcc, and what is beside it. Standard input is a Unix socket:
a JSON request comes in, a JSON answer goes back with the descriptors attached (SCM_RIGHTS). The compiler's and the
verifier's own words go to standard error, which the parent keeps.

A crash in here is an error message in the agent, and LLVM's memory (100 MB and more) is gone once this exits.
"""

import array
import ctypes
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compiled  # type: ignore[import-not-found]  # as a top-level module, like btf below

_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h
_TRACE_UPROBE_MULTI = 48  # enum bpf_attach_type of include/uapi/linux/bpf.h, since 6.6; not looked at before
_FDS_A_MESSAGE = 200  # SCM_MAX_FD is 253


def main() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # an agent that is killed leaves no compiler behind
    channel = socket.socket(fileno=os.dup(0))
    request = json.loads(_receive(channel))
    os.environ["BCC_KERNEL_SOURCE"] = request["kernel"]
    try:
        answer, descriptors = _load_kept(request) or _load(request)
    except _UnfitError as error:
        answer, descriptors = {"unfit": error.args}, []
    except Exception as error:  # whatever BCC raises is the answer  # noqa: BLE001
        answer, descriptors = {"error": str(error)}, []
    _send(channel, answer, descriptors)


def _load_kept(request: dict[str, Any]) -> tuple[dict[str, Any], list[int]] | None:
    """What an earlier run compiled; None if there is nothing, or nothing that the kernel takes as it is."""
    file = compiled.place(request)
    try:
        return compiled.load(file) if file else None
    except compiled.NOT_TAKEN:
        return None


def _load(request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
    from bcc import BPF

    offsets = _offsets(request["members"])
    module = BPF(text=request["text"], cflags=request["cflags"] + offsets)
    maps = _tables(module)
    descriptors: list[int] = []
    functions: dict[str, Any] = {}
    for name, kind in request["functions"].items():
        try:
            descriptors.append(_load_function(module, name, kind, {}))
            functions[name] = {"index": len(descriptors) - 1}
        except Exception as error:  # one function that the kernel refuses leaves the others  # noqa: BLE001
            functions[name] = {"error": str(error)}
    extensions: dict[str, Any] = {}
    for extension in request["extensions"]:
        for name, (descriptor, answer) in _load_kin(extension, offsets, maps).items():
            extensions[name] = answer
            if descriptor is not None:
                descriptors.append(descriptor)
                answer["index"] = len(descriptors) - 1
    if not any("error" in each for each in (*functions.values(), *extensions.values())):
        _keep(request, module, maps)
    for shape in maps.values():
        descriptors.append(shape.pop("fd"))
        shape["index"] = len(descriptors) - 1
    return {"functions": functions, "extensions": extensions, "maps": maps}, descriptors


def _tables(module: Any) -> dict[str, dict[str, int]]:
    """The maps of a module by name, each with its descriptor."""
    from bcc.libbcc import lib

    lib.bpf_table_name.restype = ctypes.c_char_p  # not declared by bcc, which then takes it for an int
    return {
        lib.bpf_table_name(module.module, number).decode(): {
            "fd": lib.bpf_table_fd_id(module.module, number),
            "type": lib.bpf_table_type_id(module.module, number),
            "key_size": lib.bpf_table_key_size_id(module.module, number),
            "value_size": lib.bpf_table_leaf_size_id(module.module, number),
            "max_entries": lib.bpf_table_max_entries_id(module.module, number),
        }
        for number in range(lib.bpf_num_tables(module.module))
    }


def _keep(request: dict[str, Any], module: Any, maps: dict[str, dict[str, int]]) -> None:
    """For the next run, if this user has a place for it."""
    file = compiled.place(request)
    if file is None:
        return
    programs = [("functions", name, name, kind, _code(module, name)) for name, kind in request["functions"].items()]
    for extension, own in _KEPT:
        for name, (function, kind, instead) in extension["functions"].items():
            code = compiled.with_maps(_code(own, function), _descriptors(instead, own, maps))
            programs.append(("extensions", name, function, kind, code))
    hidden = [_tables(own) for _, own in _KEPT]
    with suppress(OSError, LookupError):  # the next run compiles it again
        compiled.save(file, request["text"], maps, hidden, programs)


def _code(module: Any, function: str) -> bytes:
    from bcc.libbcc import lib

    name = function.encode()
    return ctypes.string_at(lib.bpf_function_start(module.module, name), lib.bpf_function_size(module.module, name))


def _descriptors(instead: dict[str, str], extension: Any, maps: dict[str, dict[str, int]]) -> dict[int, int]:
    """Those of an extension, which are its own of the same maps -> those that it is to use."""
    own = _tables(extension)
    return {own[one]["fd"]: maps[other]["fd"] for one, other in instead.items()}


def _load_function(module: Any, name: str, kind: str, instead: dict[int, int]) -> int:
    """The descriptor of a function, loaded as a program of that type. instead: as of `compiled.with_maps`."""
    from bcc import BPF
    from bcc.libbcc import lib

    plain, place = _code(module, name), lib.bpf_function_start(module.module, name.encode())
    # To the kernel one of uprobes is a kprobe's; where there are links of several uprobes, for these.
    wanted = (BPF.KPROBE, None, _TRACE_UPROBE_MULTI) if kind == "UPROBE" else (getattr(BPF, kind),)
    module.funcs.pop(name.encode(), None)  # or it is not loaded again as another type
    ctypes.memmove(place, compiled.with_maps(plain, instead), len(plain))
    try:
        return int(module.load_func(name.encode(), *wanted).fd)
    finally:
        ctypes.memmove(place, plain, len(plain))


_Loaded = dict[str, tuple[int | None, dict[str, Any]]]
"""By function: its descriptor; what is to be said of it, with what was printed of it alone."""


def _load_kin(extension: dict[str, Any], offsets: list[str], maps: dict[str, dict[str, int]]) -> _Loaded:
    """Those that are compiled together, or, if not all of them can be, each by itself."""
    found = _load_extension(extension, offsets, maps)
    if not extension["apart"] or all(descriptor is not None for descriptor, _ in found.values()):
        return found
    for descriptor, _ in found.values():
        if descriptor is not None:
            os.close(descriptor)
    _KEPT[:] = [(kept, module) for kept, module in _KEPT if kept is not extension]
    found = {}
    for each in extension["apart"]:
        found |= _load_extension(each, offsets, maps)
    return found


def _load_extension(extension: dict[str, Any], offsets: list[str], maps: dict[str, dict[str, int]]) -> _Loaded:
    from bcc import BPF

    module, failed = _overheard(partial(BPF, text=extension["text"], cflags=extension["cflags"] + offsets))
    if module is None:
        return {name: (None, dict(failed)) for name in extension["functions"]}
    _KEPT.append((extension, module))

    def load(function: str, kind: str, instead: dict[str, str]) -> int:
        return _load_function(module, function, kind, _descriptors(instead, module, maps))

    return {name: _overheard(partial(load, *named)) for name, named in extension["functions"].items()}


def _overheard(attempt: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """What it returns, or None and what it says."""
    with tempfile.TemporaryFile() as said:
        before = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            return attempt(), {}
        except Exception as error:  # it fails alone  # noqa: BLE001
            said.seek(0)
            return None, {"error": str(error), "log": said.read().decode(errors="replace")}
        finally:
            os.dup2(before, 2)
            os.close(before)


_KEPT: list[tuple[dict[str, Any], Any]] = []  # extensions; bcc closes a module's descriptors with it


class _UnfitError(Exception):
    """The kernel lacks something, found before compiling: (what, why, remedy)."""


def _offsets(members: list[list[str]]) -> list[str]:
    """-D options with the byte offsets of kernel structures' members, and which bit of that byte a bit-field is."""
    if not members:
        return []
    from btf import Btf, BtfError  # type: ignore[import-not-found]  # as a top-level module: the package's own imports are not for this interpreter

    options = []
    try:
        btf = Btf()
        for structure, *alternatives in members:
            name = f"{structure}_{alternatives[0]}".replace(".", "_")
            offset, bit = divmod(_first_bits(btf, structure, alternatives), 8)
            options += [f"-DROVER_OFFSET_{name}={offset}", f"-DROVER_BIT_{name}={bit}"]
    except BtfError as error:
        raise _UnfitError(*error.args) from error
    except KeyError as error:
        raise _UnfitError(
            "the eBPF program does not fit this kernel", f"its BTF has no {error.args[0]}", ""
        ) from error
    return options


def _first_bits(btf: Any, structure: str, alternatives: list[str]) -> int:
    for member in alternatives[:-1]:
        try:
            return int(btf.bits(structure, member))
        except KeyError:
            continue
    return int(btf.bits(structure, alternatives[-1]))


def _receive(channel: socket.socket) -> bytes:
    chunks = []
    while chunk := channel.recv(1 << 16):
        chunks.append(chunk)
    return b"".join(chunks)


def _send(channel: socket.socket, answer: dict[str, Any], descriptors: list[int]) -> None:
    for start in range(0, len(descriptors), _FDS_A_MESSAGE):
        part = array.array("i", descriptors[start : start + _FDS_A_MESSAGE])
        channel.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, part)])
    channel.sendall(json.dumps(answer).encode())


if __name__ == "__main__":
    if not sys.flags.isolated:
        sys.exit("run by Rover, not by hand")
    main()
