"""What of processes' files can be probed, and the probes: one set for each file, shared by all who map it."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rover_bpf.attach import Uprobes
from rover_bpf.plans import Attachment, Choice, Plan, attach
from rover_bpf.program import Program
from rover_bpf.symbols.elf import ElfError
from rover_bpf.symbols.files import FileId
from rover_core import procfs
from rover_core.api import TlsLibrary, TlsProbe
from rover_core.errors import RoverError
from rover_core.logs import get_logger
from rover_network.tls.files import MappedElf, mapped_files, opened

_DETACHING = 32
_MOST_FILES = 16_384
_MOST_PROBED = 128  # five descriptors each
Mapped = tuple[int, int, str]
"""Device and inode number, as maps shows them, and path."""
log = get_logger("network")


@dataclass(frozen=True, slots=True)
class Looked:
    """What a file is to TLS. library: the name of what is in it; reason: why that is not probed, "" if it is."""

    path: str
    build_id: str
    library: str
    reason: str = ""
    probes: Sequence[TlsProbe] = ()
    attachments: Sequence[Attachment] = field(default=(), repr=False)

    @property
    def label(self) -> str:
        """What a person reads."""
        return f"{self.path} (build id {self.build_id or 'none'})"


class TlsProbes:
    """Not for two threads at a time."""

    def __init__(self, program: Program | None, libraries: Sequence[TlsLibrary]) -> None:
        """program: None to find out what could be probed, and attach nothing."""
        self._program = program
        self._libraries = libraries
        self._files: dict[FileId, Looked | None] = {}

    def look(self, pids: Iterable[int]) -> None:
        """Probe what these processes map, unless it is probed already. Processes that are gone are left out."""
        seen: dict[Mapped, Looked | None] = {}
        for pid in pids:
            self._look_at(pid, seen)

    def files_of(self, pid: int) -> list[Looked]:
        """The files of a process that have to do with TLS, probed by now if they can be."""
        seen: dict[Mapped, Looked | None] = {}
        self._look_at(pid, seen)
        return [each for each in seen.values() if each]

    def _look_at(self, pid: int, seen: dict[Mapped, Looked | None]) -> None:
        """seen: what was found of mapped files meanwhile, so that each is opened once for all processes."""
        directory = procfs.proc_root() / str(pid)
        with suppress(OSError):  # it is gone, or may not be looked at
            for mapping in mapped_files(directory):
                mapped = mapping.device, mapping.inode, mapping.path
                if mapped in seen:
                    continue
                with opened(directory, mapping) as (file, descriptor):
                    if file not in self._files:
                        self._make_room()
                        self._files[file] = self._look(mapping.named_path, descriptor)
                    seen[mapped] = self._files[file]

    def _make_room(self) -> None:
        """Where files come and go for ever this must not grow for ever: those without TLS are forgotten."""
        if len(self._files) >= _MOST_FILES:
            self._files = {file: looked for file, looked in self._files.items() if looked}

    def _look(self, path: str, descriptor: int) -> Looked | None:
        try:
            elf = MappedElf(path, descriptor)
        except (OSError, ElfError):
            return None
        for library in self._libraries:
            try:
                if probes := tuple(library.probes(elf)):
                    return Looked(path, elf.build_id, library.name, "", probes, self._attach(library, elf, probes))
            except Exception as error:  # a library's code, and a stranger's file  # noqa: BLE001
                reason = f"{error.what}: {error.why}" if isinstance(error, RoverError) else repr(error)
                if self._program:
                    log.warning("TLS is not read", file=path, build_id=elf.build_id or "none", reason=reason)
                return Looked(path, elf.build_id, library.name, reason)
        return None

    def _attach(self, library: TlsLibrary, file: MappedElf, probes: Sequence[TlsProbe]) -> Sequence[Attachment]:
        """All of them or none; none where there is no program."""
        program = self._program
        if program is None:
            return ()
        if len(self.probed) >= _MOST_PROBED:
            raise RoverError("it is not probed", why=f"{_MOST_PROBED} other files are")
        made: list[Attachment] = []
        places: dict[tuple[bool, str], list[int]] = {}
        for probe in probes:
            places.setdefault((not probe.on_return, probe.function), []).append(probe.offset)
        try:
            for (entry, function), offsets in sorted(places.items()):  # returns first
                place = Uprobes(Path(f"/proc/self/fd/{file.descriptor}"), tuple(offsets), not entry)
                plan = Plan(f"reading the plain text of {library.name}", (Choice(function, place),))
                made.append(attach(plan, program))
        except BaseException:
            _detach(made)
            raise
        return made

    @property
    def probed(self) -> Sequence[Looked]:
        """Files whose plain text is read."""
        return [each for each in self._files.values() if each and not each.reason]

    @property
    def refused(self) -> Sequence[Looked]:
        """Files whose plain text cannot be read, with the reason."""
        return [each for each in self._files.values() if each and each.reason]

    def close(self) -> None:
        _detach([attachment for each in self.probed for attachment in each.attachments])
        self._files.clear()


def _detach(attachments: Sequence[Attachment]) -> None:
    """All at once: each waits for the same grace period of the kernel's, a tenth of a second."""
    if attachments:
        with ThreadPoolExecutor(min(len(attachments), _DETACHING)) as threads:
            list(threads.map(Attachment.detach, attachments))
