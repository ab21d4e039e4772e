"""Go's crypto/tls, from Go 1.17 on, in programs that were stripped as well: rover/go.h."""

from collections.abc import Iterator, Sequence

from rover_bpf.symbols.elf import read_elf, to_offset
from rover_bpf.symbols.gopclntab import GoError
from rover_bpf.symbols.goprogram import find_go_functions, go_release, read_go_version
from rover_core.api import TlsFile, TlsProbe
from rover_core.errors import RoverError
from rover_network.tls.gocode import AARCH64, CodeError, ProbePoints, probe_points
from rover_network.tls.programs import GO_HAS_READ, GO_HAS_READ_KEPT, GO_READ, GO_WRITE, GO_WRITTEN

_READ, _WRITE = "crypto/tls.(*Conn).Read", "crypto/tls.(*Conn).Write"
_LONGEST = 1 << 17  # bytes; they have two thousand
# Since then arguments are in registers.
_FIRST_RELEASE, _FIRST_RELEASE_ON_ARM = 17, 18


class GoTls:
    """A `rover_core.api.TlsLibrary`."""

    name = "Go"

    def probes(self, file: TlsFile) -> Sequence[TlsProbe]:
        elf = read_elf(file.read)
        try:
            functions = find_go_functions(file.read, elf, (_READ, _WRITE))
            if not functions:
                return ()
            _check(read_go_version(file.read, elf), elf.machine)
            starts = {name: to_offset(elf.segments, start) or 0 for name, (start, _) in functions.items()}
            sizes = {name: end - start for name, (start, end) in functions.items()}
            if max(sizes.values()) > _LONGEST:
                raise CodeError("its functions are longer than any compiler makes them")
            points = probe_points(elf.machine, {name: file.read(starts[name], sizes[name]) for name in starts})
            return [
                TlsProbe(function, starts[name] + offset)
                for name, found in points.items()
                for function, offset in (_reading(found) if name == _READ else _writing(found))
            ]
        except (GoError, CodeError) as error:
            raise RoverError("Go's crypto/tls is in there", why=str(error)) from error


def _check(version: str, machine: int) -> None:
    """Raises CodeError if its functions are not called as we know it."""
    release, first = go_release(version), _FIRST_RELEASE_ON_ARM if machine == AARCH64 else _FIRST_RELEASE
    if release is None:
        raise CodeError(f"it does not say which release of Go built it ({version or 'no build information'})")
    if release < first or "noregabi" in version:
        raise CodeError(f"{version} passes arguments on the stack; from Go 1.{first} on they are in registers")


def _begin(points: ProbePoints) -> int:
    if points.entry is None:
        raise CodeError("its functions do not begin as Go's do")
    return points.entry


def _reading(points: ProbePoints) -> Iterator[tuple[str, int]]:
    """(function of the eBPF program, offset in the function), what ends a call first."""
    for place in points.returns:
        yield GO_HAS_READ_KEPT if points.keeps else GO_HAS_READ, place
    if not points.keeps:
        yield GO_READ, _begin(points)


def _writing(points: ProbePoints) -> Iterator[tuple[str, int]]:
    for place in points.returns:
        yield GO_WRITTEN, place
    yield GO_WRITE, _begin(points)
