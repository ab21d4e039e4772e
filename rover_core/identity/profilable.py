"""Whether a backend of SkyWalking's kind may send profiling tasks for a process: its `support_ebpf_profiling`.

By the rule that backends are used to (contract section 3.2): the executable is an ELF file with symbols of its own,
and no interpreter; names that come from a debug file do not count. Here an interpreter counts too once it writes a
perf map, which names what it runs.
"""

import os
import stat
import struct
from pathlib import Path

# Their native stacks show the interpreter, not the program.
_INTERPRETERS = ("java", "python", "node", "bash", "ruby", "ssh")
_SHT_SYMTAB, _SHT_DYNSYM = 2, 11  # System V gABI, chapter 4
_MAX_SECTIONS = 16384
_MAX_FILES = 4096  # verdicts kept

_Identity = tuple[int, int, int]


class Profilability:
    """Verdicts about processes. A file is read once for as long as it does not change."""

    def __init__(self) -> None:
        self._files: dict[_Identity, str] = {}

    def objection(self, directory: str) -> str:
        """Why a backend would be told `false` of the process, "" for `true`. directory: /proc/<pid>."""
        if interpreter := interpreter_of(directory):
            reason = f"its executable's name begins with {interpreter}: an interpreter, and it writes no perf map"
            return "" if has_perf_map(directory) else reason
        try:
            status = os.stat(f"{directory}/exe")
            identity = status.st_dev, status.st_ino, status.st_mtime_ns
            known = self._files.get(identity)
            return self._read(identity, f"{directory}/exe") if known is None else known
        except OSError as error:
            return f"its executable cannot be read: {error.strerror}"

    def _read(self, identity: _Identity, path: str) -> str:
        while len(self._files) >= _MAX_FILES:
            del self._files[next(iter(self._files))]
        self._files[identity] = "" if has_symbols(path) else "its executable has neither .symtab nor .dynsym"
        return self._files[identity]


def why_not_profilable(directory: Path) -> str:
    """`Profilability.objection` for once."""
    return Profilability().objection(str(directory))


def interpreter_of(directory: str) -> str:
    """Which interpreter's name the executable's begins with; "" if none's. directory: /proc/<pid>."""
    try:
        name = os.path.basename(os.readlink(f"{directory}/exe").removesuffix(" (deleted)"))
    except OSError:
        return ""
    return next((prefix for prefix in _INTERPRETERS if name.startswith(prefix)), "")


def has_perf_map(directory: str) -> bool:
    """Whether the process writes /tmp/perf-<its own pid>.map: a file of its user's, as anybody may write to /tmp."""
    try:
        status = Path(directory, "status").read_text(errors="replace").splitlines()
        pid = next(line.split()[-1] for line in status if line.startswith("NSpid:"))
        found = os.lstat(f"{directory}/root/tmp/perf-{pid}.map")
        return stat.S_ISREG(found.st_mode) and found.st_size > 0 and found.st_uid in (0, os.stat(directory).st_uid)
    except (OSError, StopIteration):
        return False


def has_symbols(path: str) -> bool:
    """Whether a file is ELF with a symbol in .symtab or .dynsym. Bounded, whatever the file. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a named pipe must not block
    try:
        return stat.S_ISREG(os.fstat(handle).st_mode) and _has_symbols(handle)
    except struct.error:  # cut short
        return False
    finally:
        os.close(handle)


def _has_symbols(handle: int) -> bool:
    head = os.pread(handle, 64, 0)
    if head[:4] != b"\x7fELF" or head[4] not in (1, 2) or head[5] not in (1, 2):
        return False
    order, wide = "<>"[head[5] - 1], head[4] == 2
    section = struct.Struct(order + ("4xI24xQ16xQ" if wide else "4xI12xI12xI"))  # sh_type, sh_size, sh_entsize
    (offset,) = struct.unpack_from(order + ("Q" if wide else "I"), head, 40 if wide else 32)
    entry_size, count = struct.unpack_from(order + "HH", head, 58 if wide else 46)
    if entry_size != section.size or not 0 < offset < 1 << 62:
        return False
    count = count or section.unpack(os.pread(handle, section.size, offset))[1]  # gABI: 0xff00 sections or more
    table = os.pread(handle, min(count, _MAX_SECTIONS) * section.size, offset)
    whole = table[: len(table) // section.size * section.size]
    return any(
        kind in (_SHT_SYMTAB, _SHT_DYNSYM) and size > entry > 0  # the first symbol is none
        for kind, size, entry in section.iter_unpack(whole)
    )
