"""Whether a backend of SkyWalking's kind may send profiling tasks for a process: its `support_ebpf_profiling`."""

import os
from pathlib import Path

import numpy as np

from rover_bpf.symbols.elf import SHT_DYNSYM, SHT_SYMTAB, ElfError, read_elf
from rover_bpf.symbols.files import open_regular, reader

# Their native stacks show the interpreter, not the program.
_INTERPRETERS = ("java", "python", "node", "bash", "ruby", "ssh")


def why_not_profilable(directory: Path) -> str:
    """Why a backend would be told `false` of the process, "" if it would be told `true`. directory: /proc/<pid>.

    By the rule that backends are used to, which is about the executable's own tables: names that come from a debug
    file or a perf map do not count.
    """
    try:
        name = os.path.basename(os.readlink(directory / "exe").removesuffix(" (deleted)"))
        if interpreter := next((prefix for prefix in _INTERPRETERS if name.startswith(prefix)), ""):
            return f"its executable's name begins with {interpreter}: an interpreter or a virtual machine"
        return "" if _has_symbols(directory / "exe") else "its executable has neither .symtab nor .dynsym"
    except (OSError, ElfError) as error:
        return f"its executable cannot be read: {error}"


def _has_symbols(path: Path) -> bool:
    descriptor = open_regular(path)
    try:
        sections = read_elf(reader(descriptor)).sections
    finally:
        os.close(descriptor)
    tables = sections[np.isin(sections["type"], (SHT_SYMTAB, SHT_DYNSYM))]
    return bool(np.any(tables["size"] > tables["entsize"]))  # the first symbol is none
