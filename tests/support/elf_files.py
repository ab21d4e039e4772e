"""Files of programs, without the programs: large ones, and ones that have lost their headers."""

import random
from pathlib import Path

import numpy as np

_WORDS = [
    "allocator", "vector", "string", "buffer", "stream", "session", "request", "response", "handler",
    "manager", "factory", "iterator", "shared", "unique", "queue", "channel", "socket", "endpoint",
]  # fmt: skip
_HEADER, _SECTION, _SYMBOL = 64, 64, np.dtype("<u4, u1, u1, <u2, <u8, <u8")
_BASE, _STEP = 0x1000, 192


def mangled_names(count: int) -> list[str]:
    """Different names as of C++, 20 to 110 bytes long, in no order."""
    chance = random.Random(23)
    classes = [_part(chance) + _part(chance) for _ in range(count // 20 + 1)]
    methods = [_part(chance) + "E" + chance.choice(("v", "i", "RKS_", "PKcm", "NSt6vectorIiE")) for _ in range(1000)]
    pairs = np.unique(np.random.default_rng(23).integers(0, len(classes) * len(methods), 2 * count))
    chosen = np.random.default_rng(7).permutation(pairs)[:count].tolist()
    return [f"_ZN{classes[n // len(methods)]}{methods[n % len(methods)]}{n % 97}" for n in chosen]


def _part(chance: random.Random) -> str:
    text = "".join(chance.choices(_WORDS, k=chance.choice((1, 1, 2, 3))))
    return f"{len(text)}{text}"


def write_large_elf(path: Path, names: list[str], size: int) -> None:
    """An x86-64 file of `size` bytes, most of them a hole.

    Function n of `names`, global but for each fourth, is at 0x1000 + 192 * n.
    """
    text = _STEP * len(names)
    strings = b"\0" + b"\0".join(map(str.encode, names)) + b"\0"
    symbols = np.zeros(len(names) + 1, _SYMBOL)
    symbols["f0"][1:] = np.cumsum([1, *(len(name) + 1 for name in names[:-1])])
    symbols["f1"][1:] = np.where(np.arange(len(names)) % 4, 0x12, 0x02)
    symbols["f3"][1:] = 1
    symbols["f4"][1:] = _BASE + _STEP * np.arange(len(names), dtype=np.uint64)
    symbols["f5"][1:] = _STEP - 16
    symtab = _BASE + text
    strtab, shoff = symtab + symbols.nbytes, size - 4 * _SECTION
    sections = [
        (0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        (0, 1, 6, _BASE, _BASE, text, 0, 0, 16, 0),
        (0, 2, 0, 0, symtab, symbols.nbytes, 3, 1, 8, 24),
        (0, 3, 0, 0, strtab, len(strings), 0, 0, 1, 0),
    ]
    shdr = np.dtype("<u4, <u4, <u8, <u8, <u8, <u8, <u4, <u4, <u8, <u8")
    head = (
        b"\x7fELF\2\1\1".ljust(16, b"\0")
        + np.array(
            [(3, 62, 1, 0, _HEADER, shoff, 0, _HEADER, 56, 1, _SECTION, 4, 0)],
            "<u2, <u2, <u4, <u8, <u8, <u8, <u4, <u2, <u2, <u2, <u2, <u2, <u2",
        ).tobytes()
    )
    load = np.array([(1, 5, 0, 0, 0, _BASE + text, _BASE + text, 4096)], "<u4, <u4, <u8, <u8, <u8, <u8, <u8, <u8")
    with path.open("wb") as file:
        for offset, content in (
            (0, head + load.tobytes()),
            (symtab, symbols.tobytes() + strings),
            (shoff, np.array(sections, shdr).tobytes()),
        ):
            file.seek(offset)
            file.write(content)


def without_sections(path: Path, to: Path) -> Path:
    """As sstrip leaves it: no section headers."""
    image = bytearray(path.read_bytes())
    image[40:48], image[60:64] = bytes(8), bytes(4)
    to.write_bytes(image)
    to.chmod(0o755)
    return to
