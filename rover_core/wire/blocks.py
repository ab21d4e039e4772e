"""The beginning of what a block was before it was compressed, however little of it is there or makes sense.

Libraries want all of a block, which is not captured, and as much memory as a stranger says that it becomes.
"""


def snappy(data: bytes, most: int) -> bytes:
    """At most so many bytes out of Snappy's raw format (google/snappy, format_description.txt)."""
    out = bytearray()
    at = 0
    while at < len(data) and data[at] & 0x80:  # the length of it all, which is somebody's claim
        at += 1
    at += 1
    size = len(data)
    while at < size and len(out) < most:
        tag = data[at]
        kind = tag & 3
        length = (tag >> 2) + 1
        if kind == 0:
            more = max(0, length - 60)
            if more:
                length = int.from_bytes(data[at + 1 : at + 1 + more], "little") + 1
            at += 1 + more
            out += data[at : at + min(length, most)]
            at += length
            continue
        wide = (0, 1, 2, 4)[kind]
        offset = int.from_bytes(data[at + 1 : at + 1 + wide], "little")
        if kind == 1:
            length = (tag >> 2 & 7) + 4
            offset |= tag >> 5 << 8
        at += 1 + wide
        if at > size or not _copy(out, offset, length):
            break
    return bytes(out[:most])


def lz4(data: bytes, most: int) -> bytes:
    """At most so many bytes out of an LZ4 block (lz4/lz4, lz4_Block_format.md)."""
    out = bytearray()
    at, size = 0, len(data)
    while at < size and len(out) < most:
        token = data[at]
        at += 1
        length = token >> 4
        if length == 15:
            length, at = _longer(data, at, length)
        if length:
            out += data[at : at + min(length, most)]
            at += length
        if at + 2 > size:
            break
        offset = data[at] | data[at + 1] << 8
        at += 2
        length = token & 15
        if length == 15:
            length, at = _longer(data, at, length)
        if not _copy(out, offset, min(length + 4, most)):
            break
    return bytes(out[:most])


def _copy(out: bytearray, offset: int, length: int) -> bool:
    """Append what stands that far back; False if nothing does."""
    have = len(out)
    if not 0 < offset <= have:
        return False
    start = have - offset
    if offset >= length:
        out += out[start : start + length]
    else:  # what it copies is being written
        out += (out[start:] * (length // offset + 1))[:length]
    return True


def _longer(data: bytes, at: int, length: int) -> tuple[int, int]:
    """A length that goes on in further bytes, and the index behind them."""
    for byte in data[at:]:
        length += byte
        at += 1
        if byte != 255:
            break
    return length, at
