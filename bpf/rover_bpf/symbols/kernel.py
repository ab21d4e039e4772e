"""From addresses in the kernel to frames."""

import time
from collections.abc import Sequence
from pathlib import Path

from rover_bpf.symbols.cache import TableCache
from rover_bpf.symbols.demangle import demangle
from rover_bpf.symbols.frames import FrameCache
from rover_bpf.symbols.kallsyms import KernelSymbols, read_kallsyms, split_module
from rover_bpf.symbols.table import EMPTY
from rover_core.model import Frame

_MODULE = "[kernel]"
# How often to look whether modules were loaded or removed (30 µs); only then are the symbols read again (0.1 s).
_LOOK_EVERY_S = 10.0


class Kernel:
    """reason: why there are no kernel symbols, "" if there are or nobody asked yet."""

    def __init__(self, proc: Path, cache: TableCache, frames: FrameCache) -> None:
        self.reason = ""
        self._proc = proc
        self._cache = cache
        self._frames = frames
        self._modules = b""
        self._next_look = 0.0

    def resolve(self, addresses: Sequence[int]) -> tuple[Frame, ...]:
        """Frames of a stack, leaf first. All but the leaf are return addresses: see Symbolizer."""
        self._look_for_modules()
        return tuple(self._frame(address, min(index, 1)) for index, address in enumerate(addresses))

    def _frame(self, address: int, back: int) -> Frame:
        key = (address, back)
        return self._frames.get(key) or self._frames.put(key, self._find(address, back))

    def _find(self, address: int, back: int) -> Frame:
        found = self.symbols().symbols.find(max(address - back, 0))
        if found is None:
            return Frame(None, _MODULE, address, kernel=True)
        name, module = split_module(found[0])
        return Frame(demangle(name), module or _MODULE, address - found[1], kernel=True)

    def symbols(self) -> KernelSymbols:
        """All there are, read now unless they are held."""
        held = self._cache.get(_MODULE)
        if isinstance(held, KernelSymbols):
            return held
        symbols = read_kallsyms(self._proc / "kallsyms")
        if symbols.nbytes > self._cache.max_bytes:
            symbols = KernelSymbols(EMPTY, f"they take {symbols.nbytes} bytes, more than all symbols may")
        self.reason = symbols.reason
        self._cache.put(_MODULE, symbols)
        return symbols

    def _look_for_modules(self) -> None:
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_EVERY_S
        try:
            modules = (self._proc / "modules").read_bytes()
        except OSError:
            return  # a kernel without modules
        if modules != self._modules:
            self._modules = modules
            self._cache.discard(_MODULE)
            self._frames.clear()
