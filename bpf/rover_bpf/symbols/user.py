"""From an address in a process's mapping to a frame: files, [vdso], and code compiled at run time."""

from collections.abc import Callable
from functools import cached_property

from rover_bpf.symbols.cache import TableCache
from rover_bpf.symbols.demangle import demangle
from rover_bpf.symbols.elf import ElfError, read_elf, to_vaddr
from rover_bpf.symbols.files import reader_of
from rover_bpf.symbols.frames import FrameCache
from rover_bpf.symbols.functions import Origin
from rover_bpf.symbols.images import Image, Images, read_image
from rover_bpf.symbols.perfmap import PerfMap
from rover_bpf.symbols.process import Place
from rover_bpf.symbols.table import EMPTY
from rover_bpf.symbols.vdso import read_vdso
from rover_core.model import Frame, ProcessKey

VDSO = "[vdso]"
NO_PERF_MAP = "code made at run time, and no perf map says what it is"
JIT = "[jit]"
# The kernel gives 32-bit processes another vdso than the one this process has, below 4 GB.
_ABOVE_32_BIT = 1 << 32


def in_64_bit_vdso(place: Place) -> bool:
    """Whether this is the vdso that this process has too."""
    return place.module == VDSO and place.mapping.start >= _ABOVE_32_BIT


class UserFrames:
    """`back` in all methods: 1 for a return address, which is looked up one byte earlier (see Symbolizer)."""

    def __init__(self, cache: TableCache, images: Images, note: Callable[[str, str], None]) -> None:
        """note: told (module, reason) when names are missing."""
        self.frames = FrameCache()
        self._cache = cache
        self._images = images
        self._note = note

    def find(self, process: ProcessKey, place: Place, address: int, back: int) -> Frame:
        """The frame of an address within that mapping of that process."""
        if place.file is None:
            return self._without_file(process, place, address, back)
        offset = address - place.mapping.start + place.mapping.offset
        key = (place.file.identity, place.module, offset, back)
        if frame := self.frames.get(key):
            return frame
        image = place.file.table(self._images)
        if image is None:
            self._note(place.mapping.path, place.file.reason)
            return Frame(None, place.module, offset)
        if not image.segments:
            return self._in_other_file(process, image, place, address, back)
        # Reading the image may just have told what the file is.
        key = (place.file.identity, place.module, offset, back)
        return self.frames.put(key, self._in_image(image, place, offset, back))

    def image(self, process: ProcessKey, place: Place) -> Image:
        """All that frames in this mapping can get their names from; without symbols it says why."""
        if place.file:
            return place.file.table(self._images) or Image((), EMPTY, place.file.reason)
        if in_64_bit_vdso(place):
            return self._vdso
        perf_map = self._cache.get((JIT, process)) if place.mapping.may_be_jit else None
        if isinstance(perf_map, PerfMap) and len(perf_map.symbols):
            origin = Origin("perf map", len(perf_map.symbols))
            return Image((), perf_map.symbols, perf_map.reason, (origin,))
        return Image((), EMPTY, NO_PERF_MAP if place.mapping.may_be_jit else "the kernel's own memory")

    def _in_other_file(self, process: ProcessKey, image: Image, place: Place, address: int, back: int) -> Frame:
        """Not an ELF file: the shared memory into which .NET compiles, a Windows program under Wine."""
        if frame := self._compiled(process, address, back):
            return frame
        self._note(place.mapping.path, image.reason)
        return Frame(None, place.module, address - place.mapping.start + place.mapping.offset)

    def _without_file(self, process: ProcessKey, place: Place, address: int, back: int) -> Frame:
        if in_64_bit_vdso(place):
            return self._in_image(self._vdso, place, address - place.mapping.start, back)
        return self._compiled(process, address, back) or Frame(None, place.module, address)

    def _in_image(self, image: Image, place: Place, offset: int, back: int) -> Frame:
        if image.reason:
            self._note(place.mapping.path, image.reason)
        vaddr = to_vaddr(image.segments, offset - back) + back
        found = image.symbols.find(vaddr - back)
        if found is None:
            return Frame(None, place.module, vaddr)
        return Frame(demangle(found[0]), place.module, vaddr - found[1])

    def _compiled(self, process: ProcessKey, address: int, back: int) -> Frame | None:
        perf_map = self._cache.get((JIT, process))
        found = perf_map.symbols.find(address - back) if isinstance(perf_map, PerfMap) else None
        return Frame(demangle(found[0]), JIT, address - found[1]) if found else None

    @cached_property
    def _vdso(self) -> Image:
        read = reader_of(read_vdso())
        try:
            return read_image(read, read_elf(read), self._cache.max_bytes)
        except ElfError as error:
            return Image((), EMPTY, str(error))
