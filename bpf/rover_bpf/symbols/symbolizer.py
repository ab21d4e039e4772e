"""From addresses to frames: the one class that the rest of Rover uses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rover_bpf.symbols.cache import TableCache
from rover_bpf.symbols.frames import FrameCache
from rover_bpf.symbols.images import Images
from rover_bpf.symbols.kernel import Kernel
from rover_bpf.symbols.listing import Source, kernel_source, mapping_source
from rover_bpf.symbols.perfmap import PerfMap
from rover_bpf.symbols.process import ObservedProcess
from rover_bpf.symbols.reasons import Reasons
from rover_bpf.symbols.snapshots import Snapshots
from rover_bpf.symbols.user import JIT, UserFrames
from rover_core.model import Frame, Loss, ProcessKey


@dataclass(frozen=True, slots=True)
class SymbolizerStats:
    """bytes_used: of all tables together, at most max_bytes; evicted: tables that had to make room; frames: held
    ready to be used again; reasons: why names are missing, by file or module, the latest 256.
    """

    processes: int
    tables: int
    bytes_used: int
    max_bytes: int
    evicted: int
    frames: int
    reasons: Mapping[str, str]


class Symbolizer:
    """Names addresses of live and of exited processes, and of the kernel. Not safe for concurrent use.

    Stacks are leaf first, as bpf_get_stack delivers them: the first address is the instruction itself, all others
    are return addresses. Those are looked up one byte earlier, in the call: it may be its function's last
    instruction, and then the address it returns to is already the next function. Frame.offset is that of the
    address as it was given, as in the kernel's own backtraces.

    Of what could not be named, Frame.offset is the address within the file as nm and addr2line know it (the file
    offset if the file could not be read), else the raw address. Modules beside files: `[kernel]`, `[nf_tables]`
    (a kernel module), `[vdso]`, `[jit]` (named by a perf map), `[anon]` (code compiled at run time, unnamed).
    """

    def __init__(self, *, max_bytes: int = 12 << 20, proc: Path = Path("/proc")) -> None:
        """max_bytes: for all tables together; proc: where the proc file system of the host is mounted."""
        self._proc = proc
        self._cache = TableCache(max_bytes)
        self._reasons = Reasons()
        self._images = Images(self._cache)
        self._user = UserFrames(self._cache, self._images, self._reasons.note)
        self._kernel_frames = FrameCache()
        self._kernel = Kernel(proc, self._cache, self._kernel_frames)
        self._processes = Snapshots(proc, self._images, self._reasons.note)

    def observe(self, process: ProcessKey) -> None:
        """Snapshot the mappings of a live process; cheap when nothing has changed. Never raises.

        To be called when a process is first seen and before each resolving of a live one. What has exited is left
        as it was last observed.
        """
        seen = self._processes.observe(process)
        if seen and seen[0].may_have_jit:
            self._refresh_perf_map((JIT, process), self._proc / str(process.pid))

    def user(self, process: ProcessKey, addresses: Sequence[int]) -> tuple[Frame, ...]:
        """One frame for each address of a user stack, leaf first."""
        observed = self._processes.get(process)
        if observed is None:
            return tuple(Frame(None, "", address) for address in addresses)
        return tuple(
            self._user_frame(process, observed, address, min(index, 1)) for index, address in enumerate(addresses)
        )

    def kernel(self, addresses: Sequence[int]) -> tuple[Frame, ...]:
        """One frame for each address of a kernel stack, leaf first."""
        frames = self._kernel.resolve(addresses)
        if self._kernel.reason:
            self._reasons.note("[kernel]", self._kernel.reason)
        return frames

    def sources(self, process: ProcessKey) -> tuple[Source, ...]:
        """Where names come from, for each executable mapping as last observed and for the kernel; reads them all."""
        observed, kernel = self._processes.get(process), self._kernel.symbols()
        places = observed.places if observed else ()
        mappings = (mapping_source(place, self._user.image(process, place)) for place in places)
        return (*mappings, kernel_source(kernel.symbols, kernel.reason))

    def forget(self, process: ProcessKey) -> None:
        """Nothing more will be asked about this process. Tables of files stay, for others."""
        self._processes.forget(process)
        self._cache.discard((JIT, process))

    def missing_reason(self, process: ProcessKey) -> Loss:
        """Why frames of this process have no name: it was gone before it could be observed, or the names are."""
        return Loss.UNSYMBOLIZED if self._processes.get(process) else Loss.PROCESS_GONE

    @property
    def stats(self) -> SymbolizerStats:
        return SymbolizerStats(
            processes=len(self._processes),
            tables=len(self._cache),
            bytes_used=self._cache.bytes_used,
            max_bytes=self._cache.max_bytes,
            evicted=self._cache.evicted,
            frames=len(self._user.frames) + len(self._kernel_frames),
            reasons=self._reasons.latest,
        )

    def _refresh_perf_map(self, key: tuple[str, ProcessKey], directory: Path) -> None:
        held = self._cache.get(key)
        perf_map = held if isinstance(held, PerfMap) else PerfMap(directory, self._cache.max_bytes // 2)
        if perf_map.refresh():
            self._cache.put(key, perf_map)
        if perf_map.reason:
            self._reasons.note(f"perf map of {key[1].pid}", perf_map.reason)

    def _user_frame(self, process: ProcessKey, observed: ObservedProcess, address: int, back: int) -> Frame:
        place = observed.find(address - back)
        return self._user.find(process, place, address, back) if place else Frame(None, "", address)
