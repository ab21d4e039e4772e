"""What network profiling comes to on this kernel: lines of `rover doctor`."""

from collections.abc import Iterator

from rover_core.api import Diagnostic, Health
from rover_core.errors import RoverError
from rover_network.counter import NetworkCounter


def diagnose() -> Iterator[Diagnostic]:
    """Load and attach for real, then let go."""
    try:
        counter = NetworkCounter()
    except RoverError as error:
        yield Diagnostic("network profiling", Health.PROBLEM, f"{error.what}: {error.why}", error.remedy)
        return
    counter.close()
    yield Diagnostic("network profiling", Health.OK, f"by the raw tracepoints {counter.probes.label}")
    for purpose, why in counter.probes.missing.items():
        yield Diagnostic(f"network: {purpose}", Health.WARNING, f"not measured: {why}")
