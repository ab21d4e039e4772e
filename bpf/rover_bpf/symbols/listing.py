"""Where the names of each part of a process come from, or why there are none and what would help."""

from dataclasses import dataclass

from rover_bpf.symbols.functions import Origin
from rover_bpf.symbols.images import Image
from rover_bpf.symbols.process import Place
from rover_bpf.symbols.table import SymbolTable

_GLIBC = ("libc.so", "libc-2", "libm.so", "libpthread.so", "ld-linux", "ld-2")
_WRITE_PERF_MAP = "have it write one: node --perf-basic-prof, python -X perf (3.12 or later), an agent of the JVM"
_MAY_LOOK = "run as root, or grant CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"


@dataclass(frozen=True, slots=True)
class Source:
    """An executable mapping [start, end) and what names its functions.

    origins: best first; nbytes: memory that they take, shared by all mappings and processes of one file; reason: why
    names are missing, "" if none are known to be; remedy: what to do about it, "" if nothing will help.
    """

    start: int
    end: int
    path: str
    build_id: str
    origins: tuple[Origin, ...]
    functions: int
    nbytes: int
    reason: str
    remedy: str


def mapping_source(place: Place, image: Image) -> Source:
    reason = image.reason or _incomplete(place, image)
    mapping = place.mapping
    return Source(
        mapping.start,
        mapping.end,
        mapping.path or place.module,
        image.build_id,
        image.origins,
        len(image.symbols),
        image.symbols.nbytes,
        reason,
        _remedy(place, image) if reason else "",
    )


def kernel_source(symbols: SymbolTable, reason: str) -> Source:
    origins = (Origin("/proc/kallsyms", len(symbols)),) if len(symbols) else ()
    remedy = "run as root, or grant CAP_SYSLOG" if reason else ""
    return Source(0, 0, "[kernel]", "", origins, len(symbols), symbols.nbytes, reason, remedy)


def _incomplete(place: Place, image: Image) -> str:
    stripped = place.file is not None and [origin.name for origin in image.origins] == [".dynsym"]
    return "only exported functions have names: it is stripped" if stripped else ""


def _remedy(place: Place, image: Image) -> str:
    if "denied" in image.reason:
        return _MAY_LOOK
    if "not permitted" in image.reason:
        return "run as root, or grant CAP_CHECKPOINT_RESTORE, which shows deleted files"
    if place.mapping.may_be_jit:
        return _WRITE_PERF_MAP
    if not image.segments or (image.symbols.nbytes and image.reason):
        return ""
    if place.module.startswith(_GLIBC):
        return "install glibc's debug symbols: libc6-dbg on Debian and Ubuntu, glibc-debuginfo on Fedora"
    return "install its debug symbols (a -dbgsym, -dbg or -debuginfo package), or build it without stripping"
