"""The Huffman code of header strings (RFC 7541 section 5.2 and appendix B), a byte of input at a time."""

from functools import lru_cache

# Bits of each symbol's code, for 0..255 and EOS. The code is canonical, so they say all of it.
_LENGTHS = (
    *(13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28),
    *(28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15),
    *(6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6),
    *(15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22),
    *(20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23),
    *(23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22),
    *(22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26),
    *(27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27),
    *(26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30),
)
_EOS = 256
_LONGEST_PADDING = 7
_LONG = 256
"""Bytes of a string from which on it is not remembered: what strangers send may be all different, and long."""


def _tree() -> list[list[int]]:
    """Nodes: what follows on a 0 and on a 1; a node's number, or ~symbol."""
    nodes = [[0, 0]]
    code = length = 0
    for symbol in sorted(range(len(_LENGTHS)), key=lambda each: (_LENGTHS[each], each)):
        code <<= _LENGTHS[symbol] - length
        length = _LENGTHS[symbol]
        at = 0
        for bit in range(length - 1, 0, -1):
            way = code >> bit & 1
            if not nodes[at][way]:
                nodes.append([0, 0])
                nodes[at][way] = len(nodes) - 1
            at = nodes[at][way]
        nodes[at][code & 1] = ~symbol
        code += 1
    return nodes


_NODES = _tree()
_NOWHERE = len(_NODES)
"""Behind EOS, which no string has."""


class _Steps(dict[int, tuple[int, bytes]]):
    """node << 8 | byte -> the next node << 8, and the symbols that ended on the way. Filled as needed."""

    def __missing__(self, key: int) -> tuple[int, bytes]:
        at, found = key >> 8, bytearray()
        for bit in range(7, -1, -1):
            if at == _NOWHERE:
                break
            at = _NODES[at][key >> bit & 1]
            if at < 0:
                if ~at == _EOS:
                    at = _NOWHERE
                else:
                    found.append(~at)
                    at = 0
        self[key] = result = (at << 8, bytes(found))
        return result


_STEPS = _Steps()


def _paddings() -> frozenset[int]:
    """Where a string may end: at a code's end, or within seven 1s (section 5.2)."""
    found, at = {0}, 0
    for _ in range(_LONGEST_PADDING):
        at = _NODES[at][1]
        found.add(at << 8)
    return frozenset(found)


_ENDS = _paddings()


def _decode(data: bytes) -> str:
    state, parts, steps = 0, [], _STEPS
    for byte in data:
        state, symbols = steps[state | byte]
        parts.append(symbols)
    if state not in _ENDS:
        raise ValueError("a string holds EOS, or its padding is none")
    return b"".join(parts).decode("latin-1")


_remembered = lru_cache(maxsize=2048)(_decode)


def decode(data: bytes) -> str:
    """The string. ValueError where it is none."""
    return _remembered(data) if len(data) < _LONG else _decode(data)
