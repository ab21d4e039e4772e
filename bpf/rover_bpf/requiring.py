"""What no eBPF program can do without. Light: imported with the command line."""

import os

from rover_core.api import Health
from rover_core.errors import RoverError


def require_host() -> None:
    """Raise RoverError with what this host, or this user, lacks. Loads nothing: see `rover_bpf.plans.diagnose`."""
    from rover_bpf.features import host_diagnostics

    missing = [each for each in host_diagnostics() if each.health is Health.PROBLEM]
    if missing:
        why = "; ".join(
            each.detail if each.detail.startswith(each.name) else f"{each.name} {each.detail}" for each in missing
        )
        remedy = "see `rover doctor`" if os.geteuid() == 0 else "run as root, or see `rover doctor`"
        raise RoverError("nothing can be profiled here", why=why, remedy=remedy)
