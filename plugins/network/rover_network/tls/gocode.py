"""Where a Go function can be probed, as its code tells. Runs as a process of its own, see `probe_points`.

The disassembler takes 19 MB, which the agent is to do without, and what it reads was written by strangers.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rover_network.confinement import confine

if TYPE_CHECKING:
    from capstone import CsInsn

X86_64, AARCH64 = 62, 183  # e_machine
_TIMEOUT_S = 30
_MEMORY = 64 << 20
# Of a function's first two arguments, behind its return address: Go's ABI reserves room there for those that it gets
# in registers (src/cmd/compile/abi-internal.md, "spill area").
_SLOTS = {"rax": 8, "rbx": 16}


class CodeError(Exception):
    """The text says what is wrong with the code, or why nobody could look at it."""


@dataclass(frozen=True, slots=True)
class ProbePoints:
    """Byte offsets in one function.

    entry: the jump that is taken if the stack is too small, which it begins with: the arguments are still in their
    registers, and where it is taken the function begins anew. None where it has none. returns: every return
    instruction. keeps: at all of them its first two arguments are where its caller left room for them.
    """

    entry: int | None
    returns: tuple[int, ...]
    keeps: bool


def probe_points(machine: int, functions: Mapping[str, bytes]) -> dict[str, ProbePoints]:
    """Of each function, from its code. Raises CodeError."""
    request = {"machine": machine, "functions": {name: code.hex() for name, code in functions.items()}}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", __name__],
            input=json.dumps(request),
            env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # no secrets of ours
            cwd="/",
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        answer = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise CodeError("the disassembler failed") from error
    if "error" in answer:
        raise CodeError(str(answer["error"]))
    return {name: ProbePoints(each[0], tuple(each[1]), each[2]) for name, each in answer.items()}


def main() -> None:
    """The child's side."""
    try:
        import capstone  # noqa: F401 - before files are out of reach
    except ImportError:
        print(json.dumps({"error": "the disassembler, capstone, is not installed"}))
        return
    confine(_MEMORY)
    request = json.load(sys.stdin)
    try:
        answer: dict[str, Any] = {
            name: _look_through(request["machine"], bytes.fromhex(code))
            for name, code in request["functions"].items()
        }
    except CodeError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer))


def _look_through(machine: int, code: bytes) -> tuple[int | None, list[int], bool]:
    from capstone import CS_ARCH_ARM64, CS_ARCH_X86, CS_GRP_RET, CS_MODE_64, CS_MODE_LITTLE_ENDIAN, Cs

    known = {X86_64: (CS_ARCH_X86, CS_MODE_64), AARCH64: (CS_ARCH_ARM64, CS_MODE_LITTLE_ENDIAN)}
    if machine not in known:
        raise CodeError("Go's calling convention on this processor is not known")
    disassembler = Cs(*known[machine])
    disassembler.detail = True
    instructions = list(disassembler.disasm(code, 0))
    end = instructions[-1].address + instructions[-1].size if instructions else 0
    if end != len(code):
        raise CodeError(f"it has an instruction that nobody knows, {end:#x} bytes into a function")
    returns = [each.address for each in instructions if each.group(CS_GRP_RET)]
    if not returns:
        raise CodeError("a function never returns")
    return _entry(instructions), returns, machine == X86_64 and _keeps(instructions)


def _entry(instructions: Iterable["CsInsn"]) -> int | None:
    """The jump of the check whether the stack is large enough (src/cmd/internal/obj, stacksplit).

    Kernels emulate jumps. Most other instructions they have to step through, which takes several times as long.
    """
    from capstone import CS_GRP_JUMP, CS_GRP_RET

    for each in instructions:
        if each.group(CS_GRP_JUMP) or each.group(CS_GRP_RET):
            return int(each.address) if each.mnemonic in ("jbe", "b.ls") else None
    return None


def _keeps(instructions: Iterable["CsInsn"]) -> bool:
    """Whether a function, before it calls any other, saves its arguments in their slots and writes there but once."""
    from capstone import CS_AC_WRITE, CS_GRP_CALL
    from capstone.x86 import X86_INS_LEA, X86_OP_MEM, X86_REG_RSP

    depth, called, saved = 0, False, []
    for each in instructions:
        called = called or each.group(CS_GRP_CALL)
        if not called:
            depth += _pushed(each)
        for operand in each.operands:
            if operand.type != X86_OP_MEM or operand.mem.base != X86_REG_RSP:
                continue
            slot = operand.mem.disp - depth
            if slot + operand.size <= min(_SLOTS.values()) or slot >= max(_SLOTS.values()) + 8:
                continue
            if each.id == X86_INS_LEA:
                return False
            if operand.access & CS_AC_WRITE:
                saved.append((each.op_str.rpartition(", ")[2] if not called else "", slot))
    return sorted(saved) == sorted(_SLOTS.items())


def _pushed(instruction: "CsInsn") -> int:
    """By how many bytes an instruction of a prologue moves the stack pointer down."""
    from capstone.x86 import X86_INS_ADD, X86_INS_PUSH, X86_INS_SUB, X86_OP_IMM, X86_REG_RSP

    if instruction.id == X86_INS_PUSH:
        return 8
    if instruction.id in (X86_INS_ADD, X86_INS_SUB):
        to, by = instruction.operands
        if to.reg == X86_REG_RSP and by.type == X86_OP_IMM:
            return int(by.imm if instruction.id == X86_INS_SUB else -by.imm)
    return 0


if __name__ == "__main__":
    main()
