"""From registers and a piece of stack to addresses: the one class that the rest of Rover uses."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rover_bpf.symbols.cache import TableCache
from rover_bpf.symbols.elf import ElfError, read_elf, to_vaddr
from rover_bpf.symbols.files import reader_of
from rover_bpf.symbols.process import ObservedProcess, Place
from rover_bpf.symbols.reasons import Reasons
from rover_bpf.symbols.snapshots import Snapshots
from rover_bpf.symbols.user import in_64_bit_vdso
from rover_bpf.symbols.vdso import read_vdso
from rover_bpf.unwind.cursor import Budget, CfiError
from rover_bpf.unwind.machine import X86_64, Machine
from rover_bpf.unwind.rules import BAD, BARE, CHAIN, Rule, RuleCache, compile_row
from rover_bpf.unwind.table import Tables, UnwindTable, read_table
from rover_bpf.unwind.walk import MAX_FRAMES, Stop, Unwound, UserState, Walk
from rover_core.model import ProcessKey

# Steps of programs and expressions for one stack, 0.3 to 0.5 µs each. Node's largest function has 2 232; most of a
# stack's rules are known from earlier ones.
_BUDGET = 1 << 15


@dataclass(frozen=True, slots=True)
class UnwinderStats:
    """bytes_used: of all tables together; evicted: tables that had to make room; rules: held ready to be used again;
    stops: stacks by why they ended; reasons: why tables are missing, by file, the latest 256.
    """

    processes: int
    tables: int
    bytes_used: int
    evicted: int
    rules: int
    stops: Mapping[Stop, int]
    reasons: Mapping[str, str]

    @property
    def stacks(self) -> int:
        return sum(self.stops.values())

    @property
    def whole(self) -> int:
        """Stacks that reach their outermost frame."""
        return self.stops.get(Stop.OUTERMOST, 0)


class Unwinder:
    """Unwinds stacks of live and of exited processes. Not safe for concurrent use.

    Where there is no call frame information, as in code that was compiled at run time, the frame pointer has to do.
    """

    def __init__(self, *, max_bytes: int = 5 << 19, proc: Path = Path("/proc"), machine: Machine = X86_64) -> None:
        """max_bytes: for all tables together; proc: where the proc file system of the host is mounted; machine: of
        this host's 64-bit processes; others' stacks end at their first frame.
        """
        self._machine = machine
        self._cache = TableCache(max_bytes)
        self._tables = Tables(self._cache)
        self._rules = RuleCache()
        self._reasons = Reasons()
        self._processes = Snapshots(proc, self._tables, self._reasons.note)
        self._stops: Counter[Stop] = Counter()

    def observe(self, process: ProcessKey) -> bool:
        """Snapshot the mappings of a live process; cheap when nothing has changed. Never raises.

        To be called as Symbolizer.observe is, and before unwinding what was sampled since. Returns whether the rules
        of before still hold: the mappings are the same.
        """
        seen = self._processes.observe(process)
        if seen and seen[1]:
            self._rules.discard(process)
        return not (seen and seen[1])

    def unwind(
        self, process: ProcessKey, state: UserState, stack: bytes | memoryview, max_frames: int = MAX_FRAMES
    ) -> Unwound:
        """The stack of a thread in this state. Never raises.

        stack: the process's memory from state.sp upwards, as much of it as could be copied.
        """
        observed = self._processes.get(process)
        if observed is None:
            unwound = Unwound((state.ip,), Stop.NOT_OBSERVED)
        else:
            budget = Budget(_BUDGET)

            def find(address: int) -> Rule | None:
                return self._find(process, observed, address, budget)

            unwound = Walk(self._machine, self._rules.of(process), find, state, stack, max_frames, budget).run()
        self._stops[unwound.stop] += 1
        return unwound

    def rules(self, process: ProcessKey, places: Iterable[int]) -> Iterator[tuple[int, Rule]]:
        """The rules for these addresses, of instructions, as far as they are known from unwinding or can be found."""
        known, observed = self._rules.of(process), self._processes.get(process)
        for place in places:
            rule = known.get(place) or (observed and self._find(process, observed, place, Budget(_BUDGET)))
            if rule:
                yield place, rule

    def by_frame_pointers(self, process: ProcessKey, state: UserState, stack: bytes | memoryview) -> tuple[int, ...]:
        """What following frame pointers alone would give, as the kernel does it."""
        observed = self._processes.get(process)

        def find(address: int) -> Rule | None:
            return CHAIN if observed and observed.find(address) else None

        return Walk(self._machine, {}, find, state, stack, MAX_FRAMES, Budget(0)).run().addresses

    def needs_tables(self, process: ProcessKey) -> bool:
        """Whether following frame pointers would lose frames: some mapped file's functions do not keep them.

        By a sample of the functions of each file, once for each file. What has no .eh_frame (Go, code compiled at run
        time) counts as keeping them: its first stacks will tell. False for a process not seen alive.
        """
        observed = self._processes.get(process)
        return observed is not None and any(
            not table.keeps_frame_pointers for table in map(self._table, observed.places) if table
        )

    def forget(self, process: ProcessKey) -> None:
        """Nothing more will be asked about this process. Tables of files stay, for others."""
        self._processes.forget(process)
        self._rules.discard(process)

    @property
    def stats(self) -> UnwinderStats:
        return UnwinderStats(
            processes=len(self._processes),
            tables=len(self._cache),
            bytes_used=self._cache.bytes_used,
            evicted=self._cache.evicted,
            rules=len(self._rules),
            stops=dict(self._stops),
            reasons=self._reasons.latest,
        )

    def _find(self, process: ProcessKey, observed: ObservedProcess, address: int, budget: Budget) -> Rule | None:
        place = observed.find(address)
        if place is None:
            return None
        try:
            rule = self._rule(place, address, budget)
        except CfiError as error:
            self._reasons.note(place.mapping.path, str(error))
            if budget.left < 0:
                return BAD  # for this time: the next stack has a budget of its own
            rule = BAD
        return self._rules.put(process, address, rule)

    def _rule(self, place: Place, address: int, budget: Budget) -> Rule:
        table = self._table(place)
        if table is None or not table.segments:
            return CHAIN
        if table.machine is not self._machine:
            return BAD
        offset = address - place.mapping.start + place.mapping.offset
        row = table.row(to_vaddr(table.segments, offset), budget)
        if row is None:
            return BARE if table.index else CHAIN
        return compile_row(row, self._machine, address)

    def _table(self, place: Place) -> UnwindTable | None:
        """None where there is no file, or it cannot be read."""
        if place.file is None:
            return self._vdso if in_64_bit_vdso(place) else None
        table = place.file.table(self._tables)
        if reason := place.file.reason if table is None else table.reason:
            self._reasons.note(place.mapping.path, reason)
        return table

    @cached_property
    def _vdso(self) -> UnwindTable:
        read = reader_of(read_vdso())
        try:
            return read_table(read, read_elf(read), self._cache.max_bytes)
        except ElfError as error:
            return UnwindTable(reason=str(error))
