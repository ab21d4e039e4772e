"""Probe plans: what a program wants, in order of preference, resolved by trying.

Kernels differ in what they have and what they allow, and no version number tells. So a plan names its choices and
the first that loads and attaches is taken; which one it was, and why the others were not, is there to be reported.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from rover_bpf.attach import Probe
from rover_bpf.program import Program
from rover_core.api import Diagnostic, Health
from rover_core.errors import RoverError


@dataclass(frozen=True, slots=True)
class Choice:
    """One way: this function of the program on this probe."""

    function: str
    probe: Probe


@dataclass(frozen=True, slots=True)
class Plan:
    """What to attach, best first. purpose: what is not measured without it."""

    purpose: str
    choices: tuple[Choice, ...]


@dataclass(slots=True)
class Attachment:
    """A plan carried out. `refused` holds the reason for each better choice that could not be had."""

    plan: Plan
    probe: Probe
    function: str
    descriptors: list[int]
    refused: dict[str, str] = field(default_factory=dict)

    def detach(self) -> None:
        while self.descriptors:
            os.close(self.descriptors.pop())


def attach(plan: Plan, program: Program) -> Attachment:
    """Take the first choice that works. RoverError with every reason if none does."""
    refused: dict[str, str] = {}
    for choice in plan.choices:
        label = choice.probe.label
        if choice.function not in program.functions:
            refused[label] = program.errors.get(choice.function, "not part of the program")
            continue
        try:
            descriptors = choice.probe.attach(program.functions[choice.function])
        except RoverError as error:
            refused[label] = str(error)
        except OSError as error:
            refused[label] = _explain(error)
        else:
            return Attachment(plan, choice.probe, choice.function, descriptors, refused)
    reasons = "; ".join(f"{label}: {reason}" for label, reason in refused.items())
    raise RoverError(f"{plan.purpose} is not possible here", why=reasons, remedy="see `rover doctor`")


def _explain(error: OSError) -> str:
    if error.errno in (1, 13):  # EPERM, EACCES
        return f"{error.strerror} (needs root, or CAP_BPF and CAP_PERFMON)"
    return error.strerror or str(error)


def diagnose(name: str, attached: Callable[[], Attachment]) -> Diagnostic:
    """A line for `rover doctor`: what a plan comes to here. `attached` does it for real."""
    try:
        attachment = attached()
    except RoverError as error:
        return Diagnostic(name, Health.PROBLEM, f"{error.what}: {error.why}", error.remedy)
    skipped = "".join(f"; not {label}: {reason}" for label, reason in attachment.refused.items())
    return Diagnostic(name, Health.OK, f"by {attachment.probe.label}{skipped}")
