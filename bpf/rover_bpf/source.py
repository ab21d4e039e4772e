"""The source of an eBPF program, made ready for BCC: headers in place, constants of the running kernel."""

import hashlib
import itertools
import os
import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

KERNEL = Path(__file__).parent / "kernel"
"""What stands in for the kernel's header tree."""

_INCLUDE = re.compile(r"\s*#\s*include\s*<(rover/[\w./]+)>")


class Function(NamedTuple):
    """What it is called in the text, and its type, as of `ProgramSource.functions`.

    instead: maps that it uses in place of others, by name, all of the program beside it. So what is compiled once is
    loaded as programs of several types, each with maps of its own.
    """

    name: str
    type: str
    instead: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Extension:
    """A program that is compiled by itself, beside the one whose maps it uses (`BPF_TABLE("extern", ...)`).

    functions: by what they are called among the loaded functions. One that does not compile, or that the kernel
    refuses, is an error of its own. defines: constants of the text, which is not to define them. include: folders
    before those of all. repeatable: the text may stand several times in one program, with other constants. Those in a
    row that are of one text are then compiled together, and each by itself only if that does not work.
    """

    path: Path
    functions: Mapping[str, Function]
    defines: Mapping[str, str] = field(default_factory=dict)
    include: tuple[Path, ...] = ()
    repeatable: bool = False


@dataclass(frozen=True, slots=True)
class ProgramSource:
    """One eBPF program to compile.

    functions: name -> program type as BCC names it (`PERF_EVENT`, `RAW_TRACEPOINT`, `TRACEPOINT`, `KPROBE`; `UPROBE`
    for `attach.Uprobes`; `TRACING` for an iterator, whose name is then `bpf_iter__<what>`). optional: those that are
    of use only beside others.
    members: kernel structure members whose offsets the program uses, as (structure, member, names it had in other
    kernels...): each becomes the constant ROVER_OFFSET_<structure>_<member>, dots as underscores; of bit-fields
    ROVER_BIT_<structure>_<member> is the bit of that byte.
    defines: further constants. include: folders of the program's own headers. extensions: programs that are loaded
    beside it.
    """

    path: Path
    functions: Mapping[str, str]
    members: tuple[tuple[str, ...], ...] = ()
    defines: Mapping[str, str] = field(default_factory=dict)
    include: tuple[Path, ...] = ()
    extensions: tuple[Extension, ...] = ()
    optional: frozenset[str] = frozenset()

    def request(self) -> dict[str, Any]:
        """What the loader child is asked (JSON)."""
        beside = [folder for each in self.extensions for folder in (each.path.parent, *each.include)]
        return {
            "kernel": str(KERNEL),
            "headers": _digest([KERNEL, self.path.parent, *self.include, *beside]),
            **self._module([(self.path, {})], self.include),
            "members": self.members,
            "functions": dict(self.functions),
            "extensions": [self._extension(kin) for kin in _kin(self.extensions)],
        }

    def _extension(self, kin: Sequence[Extension]) -> dict[str, Any]:
        """Of one text; apart: each by itself, if they are several."""
        functions = {name: function for each in kin for name, function in each.functions.items()}
        folders = [folder for each in kin for folder in (each.path.parent, *each.include)]
        return {
            **self._module([(each.path, each.defines) for each in kin], (*folders, *self.include)),
            "functions": {name: (*named, dict(instead)) for name, (*named, instead) in functions.items()},
            "apart": [self._extension([each]) for each in kin] if len(kin) > 1 else [],
        }

    def _module(self, parts: Sequence[tuple[Path, Mapping[str, str]]], folders: Sequence[Path]) -> dict[str, Any]:
        include = [KERNEL / "include", self.path.parent, *folders]
        defines = {**kernel_defines(), **self.defines}
        cflags = [f"-I{folder}" for folder in include] + [f"-D{name}={value}" for name, value in defines.items()]
        return {"text": inline_headers(parts, include), "cflags": cflags}


def _kin(extensions: Iterable[Extension]) -> list[list[Extension]]:
    """Those that may be compiled together."""
    numbered = enumerate(extensions)
    groups = itertools.groupby(numbered, lambda pair: pair[1].path if pair[1].repeatable else pair[0])
    return [[each for _, each in group] for _, group in groups]


def _digest(folders: Iterable[Path]) -> str:
    """Of all headers that may be included."""
    digest = hashlib.blake2b(digest_size=20)
    for folder in dict.fromkeys(folders):
        for file in sorted(folder.rglob("*.h")):
            digest.update(b"%s\0%s\0" % (str(file.relative_to(folder)).encode(), file.read_bytes()))
    return digest.hexdigest()


def inline_headers(parts: Iterable[tuple[Path, Mapping[str, str]]], include: Sequence[Path]) -> str:
    """A program's text with the `rover/` headers it includes in place, each once. parts: files, with their constants.

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

    def part(path: Path, defines: Mapping[str, str]) -> Iterator[str]:
        yield from (f"#define {name} {value}" for name, value in defines.items())
        yield from expand(path)
        yield from (f"#undef {name}" for name in defines)

    return "\n".join(line for path, defines in parts for line in part(path, defines)) + "\n"


def kernel_defines() -> dict[str, str]:
    """Constants of the running kernel that headers would otherwise bring."""
    numbers = [*platform.release().split("-")[0].split("."), "0", "0"][:3]
    version, patch, sub = (int("".join(filter(str.isdigit, part)) or 0) for part in numbers)
    code = (version << 16) + (patch << 8) + min(sub, 255)
    return {"LINUX_VERSION_CODE": str(code), "PAGE_SHIFT": str(os.sysconf("SC_PAGE_SIZE").bit_length() - 1)}
