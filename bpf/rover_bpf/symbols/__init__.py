"""Names for addresses: of ELF files, of the kernel, of [vdso], of code compiled at run time.

`Symbolizer` is the way in; the other modules are its parts, one source of names each.
"""

from rover_bpf.symbols.symbolizer import Symbolizer, SymbolizerStats

__all__ = ["Symbolizer", "SymbolizerStats"]
