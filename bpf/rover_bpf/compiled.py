"""Programs as BCC left them, kept in files, so that only a host's first start needs the compiler.

For the loader child: nothing is imported but the standard library. What is kept are instructions, and maps' shapes.
The kernel verifies them like any others; a file that is not taken as it is, whatever the reason, is as good as none.
"""

import base64
import ctypes
import hashlib
import json
import os
import platform
import re
import struct
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VMLINUX = Path("/sys/kernel/btf/vmlinux")
_MOST_FILES = 32
_SYSCALL = {"x86_64": 321, "aarch64": 280}  # bpf(2)
_MAP_CREATE, _PROG_LOAD = 0, 5  # enum bpf_cmd
_TYPES = {"KPROBE": (2, 0), "UPROBE": (2, 48), "TRACEPOINT": (5, 0), "PERF_EVENT": (7, 0), "RAW_TRACEPOINT": (17, 0)}
"""Kind of function -> enum bpf_prog_type, enum bpf_attach_type (of include/uapi/linux/bpf.h)."""
_OF_MAPS = (12, 13)  # BPF_MAP_TYPE_ARRAY_OF_MAPS, BPF_MAP_TYPE_HASH_OF_MAPS
_INNER = re.compile(r'BPF_(?:ARRAY|HASH)_OF_MAPS\((\w+),\s*"(\w+)"')
_INSTRUCTION = struct.Struct("<BBhi")  # struct bpf_insn: code, registers, offset, immediate
_LOAD_IMMEDIATE, _MAP_FD = 0x18, 1  # BPF_LD | BPF_DW | BPF_IMM; BPF_PSEUDO_MAP_FD as source register
_NAME = 16  # BPF_OBJ_NAME_LEN
_SHAPE = ("type", "key_size", "value_size", "max_entries")

NOT_TAKEN = (OSError, ValueError, LookupError, TypeError, AttributeError, zlib.error)
"""Of a file that is absent, may be written by others, or is damaged; or of a kernel that refuses what is in it."""

_libc = ctypes.CDLL(None, use_errno=True)


class _Map(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("type", "key_size", "value_size", "max_entries", "flags")),
        *((name, ctypes.c_uint32) for name in ("inner_map_fd", "numa_node")),
        ("name", ctypes.c_char * _NAME),
    )


class _Program(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("type", "instructions")),
        *((name, ctypes.c_uint64) for name in ("code", "license")),
        *((name, ctypes.c_uint32) for name in ("log_level", "log_size")),
        ("log", ctypes.c_uint64),
        *((name, ctypes.c_uint32) for name in ("kernel_version", "flags")),
        ("name", ctypes.c_char * _NAME),
        *((name, ctypes.c_uint32) for name in ("interface", "attach_type")),
    )


def place(request: dict[str, Any]) -> Path | None:
    """Where what comes of a request is kept: by everything that it is compiled from. None: it is not."""
    kinds = {*request["functions"].values()}
    kinds |= {kind for each in request["extensions"] for _, kind, _ in each["functions"].values()}
    if not request["keep"] or kinds - _TYPES.keys():
        return None
    digest = hashlib.blake2b(json.dumps(request).encode(), digest_size=20)
    digest.update(platform.version().encode())
    try:
        digest.update(VMLINUX.read_bytes())
    except OSError:
        return None
    return Path(request["keep"]) / f"{digest.hexdigest()}.json"


def load(file: Path) -> tuple[dict[str, Any], list[int]]:
    """What the child answers, and descriptors. Raises one of NOT_TAKEN."""
    for each in (file.parent.stat(), file.stat()):
        if each.st_uid != os.geteuid() or each.st_mode & 0o022:
            raise PermissionError(f"others may write {file}")
    kept = json.loads(zlib.decompress(file.read_bytes()))
    os.utime(file)
    maps = _make_maps(kept["maps"])
    shown = {name: shape for name, shape in kept["maps"].items() if shape["shown"]}
    descriptors = [maps[name] for name in shown]
    answer: dict[str, Any] = {"functions": {}, "extensions": {}}
    answer["maps"] = {
        name: {"index": index, **{field: shape[field] for field in _SHAPE}}
        for index, (name, shape) in enumerate(shown.items())
    }
    for each in kept["programs"]:
        descriptors.append(_load_program(each, maps))
        answer[each["part"]][each["name"]] = {"index": len(descriptors) - 1}
    return answer, descriptors


def _make_maps(shapes: dict[str, dict[str, Any]]) -> dict[str, int]:
    """Descriptors by name."""
    made: dict[str, int] = {}
    for name, shape in sorted(shapes.items(), key=lambda item: item[1]["inner"] is not None):
        inner = made[shape["inner"]] if shape["inner"] else 0
        numbers = [shape[field] for field in (*_SHAPE, "flags")]
        made[name] = _bpf(_MAP_CREATE, _Map(*numbers, inner, 0, shape["label"].encode()[: _NAME - 1]))
    return made


def _load_program(each: dict[str, Any], maps: dict[str, int]) -> int:
    kind, attach_type = _TYPES[each["kind"]]
    code = bytearray(base64.b64decode(each["code"]))
    for at, name in each["uses"]:
        struct.pack_into("<i", code, at + 4, maps[name])
    held = (ctypes.c_char * len(code)).from_buffer(code)
    license_ = ctypes.create_string_buffer(b"GPL")
    attributes = _Program(kind, len(code) // _INSTRUCTION.size, ctypes.addressof(held), ctypes.addressof(license_))
    attributes.name = each["function"].encode()[: _NAME - 1]
    attributes.attach_type = attach_type
    return _bpf(_PROG_LOAD, attributes)


def _bpf(command: int, attributes: ctypes.Structure) -> int:
    number = ctypes.c_long(_SYSCALL[platform.machine()])
    result = _libc.syscall(number, command, ctypes.byref(attributes), ctypes.c_uint(ctypes.sizeof(attributes)))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)


def save(
    file: Path,
    text: str,
    maps: dict[str, dict[str, int]],
    hidden: list[dict[str, dict[str, int]]],
    programs: list[tuple[str, str, str, str, bytes]],
) -> None:
    """Keep what was loaded without an error. Raises OSError; LookupError if it is not understood.

    text: of the program with the maps; maps: of it by name, with their descriptors; hidden: of its extensions.
    programs: (part of the answer, name there, function, kind, instructions).
    """
    inner = dict(_INNER.findall(text))
    names: dict[int, str] = {}
    shapes: dict[str, dict[str, Any]] = {}
    for number, tables in enumerate([maps, *hidden]):
        for label, shape in tables.items():
            facts = _facts(shape["fd"])
            if facts["map_id"] in names:
                continue  # another program's
            name = f"{number} {label}" if number else label
            names[facts["map_id"]] = name
            shapes[name] = {**{field: shape[field] for field in _SHAPE}, "flags": facts["map_flags"], "label": label}
            shapes[name] |= {"shown": not number, "inner": inner[label] if shape["type"] in _OF_MAPS else None}
    kept = {"maps": shapes, "programs": [_program(*each, names) for each in programs]}
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as fresh:
        fresh.write(zlib.compress(json.dumps(kept).encode(), 1))
    os.replace(fresh.name, file)
    files = sorted(file.parent.iterdir(), key=lambda each: each.stat().st_mtime)
    for old in files[:-_MOST_FILES]:
        old.unlink(missing_ok=True)


def _program(part: str, name: str, function: str, kind: str, code: bytes, maps: dict[int, str]) -> dict[str, Any]:
    """A function as it is kept. maps: id -> name."""
    uses = [(at, maps[_facts(fd)["map_id"]]) for at, fd in _uses(code)]
    text = base64.b64encode(code).decode()
    return {"part": part, "name": name, "function": function, "kind": kind, "code": text, "uses": uses}


def with_maps(code: bytes, instead: dict[int, int]) -> bytes:
    """Instructions that use other maps. instead: descriptor -> the one in its place."""
    changed = bytearray(code)
    for at, fd in _uses(code):
        struct.pack_into("<i", changed, at + 4, instead.get(fd, fd))
    return bytes(changed)


def _uses(code: bytes) -> Iterator[tuple[int, int]]:
    """Where the instructions name a map, and its descriptor."""
    at = 0
    while at < len(code):
        operation, registers, _, immediate = _INSTRUCTION.unpack_from(code, at)
        if operation == _LOAD_IMMEDIATE:
            if registers >> 4 == _MAP_FD:
                yield at, immediate
            at += _INSTRUCTION.size
        at += _INSTRUCTION.size


def _facts(fd: int) -> dict[str, int]:
    """A map's id and its flags, as the kernel has them."""
    lines = (line.split() for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines())
    return {name.rstrip(":"): int(value, 0) for name, value, *_ in lines if name in ("map_id:", "map_flags:")}
