"""The sentences that matter, out of what the compiler and the verifier print."""

from itertools import pairwise


def compiler_error(log: str) -> str:
    """The compiler's first error with its place, "" if there is none."""
    return next((line.strip() for line in log.splitlines() if " error: " in line), "")


def verdicts(log: str) -> list[str]:
    """What the verifier found wrong, a sentence for each refused program: the line before its `processed N insns`."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return [before for before, line in pairwise(lines) if line.startswith("processed ")]
