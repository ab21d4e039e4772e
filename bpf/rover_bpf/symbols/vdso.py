"""The kernel's code in every process, [vdso]: an ELF image that exists in memory only (vdso(7))."""

from pathlib import Path

from rover_bpf.symbols.maps import parse_maps

_MAX_BYTES = 1 << 18


def read_vdso() -> bytes:
    """The image as this process has it, which is the same in all 64-bit ones; b"" if there is none."""
    try:
        vdso = next(m for m in parse_maps(Path("/proc/self/maps").read_bytes()) if m.path == "[vdso]")
        with Path("/proc/self/mem").open("rb", buffering=0) as memory:
            memory.seek(vdso.start)
            return memory.read(min(vdso.end - vdso.start, _MAX_BYTES))
    except (OSError, StopIteration):
        return b""
