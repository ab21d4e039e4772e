"""What of a process's code has names: lines of `rover doctor --pid`."""

from collections.abc import Iterator, Sequence

from rover_bpf.symbols import Symbolizer
from rover_bpf.symbols.listing import Source
from rover_core import procfs
from rover_core.api import Diagnostic, Health
from rover_core.errors import RoverError
from rover_core.model import Process
from rover_core.tables import plain

_VSYSCALL = "[vsyscall]"  # mapped into every process, and called by programs from before 2010 alone


def read_sources(process: Process, symbolizer: Symbolizer) -> Sequence[Source]:
    """One for each executable mapping, and the kernel's. RoverError if the mappings cannot be read."""
    symbolizer.observe(process.key)
    sources = symbolizer.sources(process.key)
    if len(sources) == 1:  # the kernel alone
        refusals = [why for what, why in symbolizer.stats.reasons.items() if what.endswith("maps")]
        why = refusals[0] if refusals else "it has just ended"
        remedy = "run as root, or grant CAP_SYS_PTRACE"
        raise RoverError(f"the mappings of process {process.key.pid} cannot be read", why=why, remedy=remedy)
    return sources


def diagnose_names(process: Process) -> Iterator[Diagnostic]:
    """How many of a process's executable mappings have named functions, and which have none."""
    if process.kernel_thread:
        yield Diagnostic("symbols", Health.OK, "a thread of the kernel, which has no code of its own")
        return
    try:
        sources = read_sources(process, Symbolizer(proc=procfs.proc_root()))
    except RoverError as error:
        yield Diagnostic("symbols", Health.PROBLEM, f"{error.what}: {error.why}", error.remedy)
        return
    own = [source for source in sources if source.end and source.path != _VSYSCALL]
    nameless = sorted({plain(source.path) for source in own if not source.functions})
    named = sum(source.functions > 0 for source in own)
    detail = f"functions of {named} of {len(own)} executable mappings have names"
    if nameless:
        remedy = f"`rover symbols --pid {process.key.pid}` says what would help"
        yield Diagnostic("symbols", Health.WARNING, f"{detail}; none in {', '.join(nameless)}", remedy)
    else:
        yield Diagnostic("symbols", Health.OK, detail)
