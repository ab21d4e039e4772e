"""All functions of a file, from the best source there is.

In this order: its .symtab; a separate debug file; mini debug info; Go's table. Only the first that has any is read,
so a file that was not stripped costs no look at the disk. What the file exports (.dynsym) is added to each.
"""

from dataclasses import dataclass

from rover_bpf.symbols.debugfiles import NOWHERE, Around, open_debug_file
from rover_bpf.symbols.elf import Elf
from rover_bpf.symbols.elfsymbols import add_dynsym, add_symtab
from rover_bpf.symbols.files import Read
from rover_bpf.symbols.functions import Functions, Origin
from rover_bpf.symbols.gofile import add_go
from rover_bpf.symbols.minidebug import add_minidebug
from rover_bpf.symbols.table import EMPTY, SymbolTable, TooLargeError


@dataclass(frozen=True, slots=True, eq=False)
class Symbols:
    """origins: where the names came from; reason: why they are missing or incomplete, "" if they are not."""

    table: SymbolTable
    origins: tuple[Origin, ...] = ()
    reason: str = ""


def read_symbols(read: Read, elf: Elf, limit: int, around: Around = NOWHERE) -> Symbols:
    """Within `limit` bytes: if not of all functions then of the global ones, else of those that are exported."""
    for remark in ("", "only global functions are named: all", "only exported functions are named: all global ones"):
        functions = Functions(limit, only_global=bool(remark))
        try:
            reason = "" if "exported" in remark else _add_best(functions, read, elf, around)
            add_dynsym(functions, read, elf)
        except TooLargeError:
            continue
        if not remark or functions.origins:
            return _symbols(functions, f"{remark} take more than {limit} bytes" if remark else reason)
    return Symbols(EMPTY, reason=f"its functions take more than {limit} bytes")


def _symbols(functions: Functions, reason: str) -> Symbols:
    if not functions.origins:
        reason = "; ".join(filter(None, ("it has no symbols (stripped)", reason)))
    return Symbols(functions.table(), tuple(functions.origins), reason)


def _add_best(functions: Functions, read: Read, elf: Elf, around: Around) -> str:
    add_symtab(functions, ".symtab", read, elf)
    if not functions.origins:
        _add_debug_file(functions, read, elf, around)
    reasons = [add(functions, read, elf) for add in (add_minidebug, add_go) if not functions.origins]
    return "" if functions.origins else "; ".join(filter(None, reasons))


def _add_debug_file(functions: Functions, read: Read, elf: Elf, around: Around) -> None:
    with open_debug_file(read, elf, around) as debug:
        if debug:
            # They differ where prelink has moved the one that runs.
            shift = (_lowest(elf) - _lowest(debug.elf)) % 2**64
            add_symtab(functions, debug.path, debug.read, debug.elf, shift)


def _lowest(elf: Elf) -> int:
    return min((segment.vaddr for segment in elf.segments), default=0)
