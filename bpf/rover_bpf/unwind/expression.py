"""DWARF expressions (DWARF 5 section 2.5), as far as call frame information uses them. Bounded in steps and stack."""

import struct
from collections.abc import Callable

from rover_bpf.unwind.cursor import Budget, CfiError, Cursor, signed

Load = Callable[[int], int]
"""The 8 bytes at an address, as an unsigned number. Raises CfiError (or a subclass) where it cannot be had."""
Register = Callable[[int], int]

_MAX_STEPS = 256
_MAX_STACK = 64
_MASK = (1 << 64) - 1

_CONSTANTS = {
    0x03: struct.Struct("<Q"),  # DW_OP_addr
    0x08: struct.Struct("<B"),
    0x09: struct.Struct("<b"),
    0x0A: struct.Struct("<H"),
    0x0B: struct.Struct("<h"),
    0x0C: struct.Struct("<I"),
    0x0D: struct.Struct("<i"),
    0x0E: struct.Struct("<Q"),
    0x0F: struct.Struct("<q"),
}
_ULEB_CONSTANT, _SLEB_CONSTANT = 0x10, 0x11
_DEREF, _DUP, _DROP, _OVER, _PICK, _SWAP, _ROT = 0x06, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17
_PLUS_CONSTANT, _BRANCH, _SKIP = 0x23, 0x28, 0x2F
_LITERAL, _REGISTER, _BREG, _BREGX, _DEREF_SIZE, _NOP = 0x30, 0x50, 0x70, 0x92, 0x94, 0x96
_OFFSET = struct.Struct("<h")

_UNARY: dict[int, Callable[[int], int]] = {
    0x19: lambda a: abs(signed(a)),
    0x1F: lambda a: -a,
    0x20: lambda a: ~a,
}
# The second operand is the one on top; what is not marked signed wraps the same either way.
_BINARY: dict[int, Callable[[int, int], int]] = {
    0x1A: lambda a, b: a & b,
    0x1B: lambda a, b: _quotient(signed(a), signed(b)),
    0x1C: lambda a, b: a - b,
    0x1D: lambda a, b: a % b,
    0x1E: lambda a, b: a * b,
    0x21: lambda a, b: a | b,
    0x22: lambda a, b: a + b,
    0x24: lambda a, b: a << b if b < 64 else 0,
    0x25: lambda a, b: a >> b if b < 64 else 0,
    0x26: lambda a, b: signed(a) >> min(b, 63),
    0x27: lambda a, b: a ^ b,
    0x29: lambda a, b: signed(a) == signed(b),
    0x2A: lambda a, b: signed(a) >= signed(b),
    0x2B: lambda a, b: signed(a) > signed(b),
    0x2C: lambda a, b: signed(a) <= signed(b),
    0x2D: lambda a, b: signed(a) < signed(b),
    0x2E: lambda a, b: signed(a) != signed(b),
}


def _quotient(a: int, b: int) -> int:
    """Rounded towards zero, as C does."""
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def evaluate(code: bytes, register: Register, load: Load, budget: Budget, *start: int) -> int:
    """The value on top of the stack at the end, 0 .. 2**64 - 1. Raises CfiError.

    start: what is on the stack at the beginning: the CFA, for register rules.
    """
    stack = list(start)
    cursor = Cursor(code)
    try:
        for _ in range(_MAX_STEPS):
            if cursor.at >= len(code):
                return stack[-1]
            _step(cursor, stack, register, load)
            budget.left -= 1
            if len(stack) > _MAX_STACK or budget.left < 0:
                break
    except (IndexError, ZeroDivisionError):
        raise CfiError("an expression that makes no sense") from None
    raise CfiError("an expression that takes too much")


def _step(cursor: Cursor, stack: list[int], register: Register, load: Load) -> None:
    op = cursor.u8()
    if op in _BINARY:
        top = stack.pop()
        stack[-1] = int(_BINARY[op](stack[-1], top)) & _MASK
    elif op in _UNARY:
        stack[-1] = _UNARY[op](stack[-1]) & _MASK
    elif op in _CONSTANTS:
        stack.append(cursor.fixed(_CONSTANTS[op]) & _MASK)
    elif _LITERAL <= op < _REGISTER:
        stack.append(op - _LITERAL)
    elif _BREG <= op < _BREG + 32:
        stack.append((register(op - _BREG) + cursor.sleb()) & _MASK)
    elif op in (_DEREF, _DEREF_SIZE):
        width = cursor.u8() if op == _DEREF_SIZE else 8
        stack[-1] = load(stack[-1]) & ((1 << 8 * min(width, 8)) - 1)
    else:
        _rare(op, cursor, stack, register)


def _rare(op: int, cursor: Cursor, stack: list[int], register: Register) -> None:
    if op == _BREGX:
        number = cursor.uleb()
        stack.append((register(number) + cursor.sleb()) & _MASK)
    elif op in (_ULEB_CONSTANT, _SLEB_CONSTANT):
        stack.append((cursor.uleb() if op == _ULEB_CONSTANT else cursor.sleb()) & _MASK)
    elif op == _PLUS_CONSTANT:
        stack[-1] = (stack[-1] + cursor.uleb()) & _MASK
    elif op in (_BRANCH, _SKIP):
        offset = cursor.fixed(_OFFSET)
        if op == _SKIP or stack.pop():
            cursor.at = max(cursor.at + offset, 0)
    elif op != _NOP:
        _shuffle(op, cursor, stack)


def _shuffle(op: int, cursor: Cursor, stack: list[int]) -> None:
    if op in (_DUP, _OVER, _PICK):
        depth = {_DUP: 0, _OVER: 1}.get(op)
        stack.append(stack[-1 - (cursor.u8() if depth is None else depth)])
    elif op == _DROP:
        stack.pop()
    elif op == _SWAP:
        stack[-1], stack[-2] = stack[-2], stack[-1]
    elif op == _ROT:
        stack[-1], stack[-2], stack[-3] = stack[-2], stack[-3], stack[-1]
    else:
        raise CfiError(f"operation {op:#x} in an expression")
