"""What the running kernel can do, as far as tests expect different results for it."""

import platform

SHIPS_STACKS = tuple(map(int, platform.release().split(".")[:2])) >= (5, 15)
"""Whether user stacks are unwound by call frame information: it takes bpf_task_pt_regs()."""
