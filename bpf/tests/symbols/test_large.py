"""A 200-MB program with half a million functions, indexed in a process of its own: time, memory, and every name."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from elf_files import mangled_names, write_large_elf

FUNCTIONS = 500_000
SIZE = 200 << 20
SCRIPT = r"""
import json, os, sys, time
sys.path[:0] = sys.argv[3:]
from pathlib import Path
from rover_bpf.symbols.cache import TableCache
from rover_bpf.symbols.debugfiles import Around
from rover_bpf.symbols.images import Images

def status(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field))

cache = TableCache(int(sys.argv[2]) << 20)
images = Images(cache)
before = status("VmRSS")
begun = time.process_time()
_, image = images.load(os.open(sys.argv[1], os.O_RDONLY), Around())
took = time.process_time() - begun
names = [image.symbols.find(0x1000 + 192 * n + 7) for n in range(0, 500_000, 997)]
print(json.dumps({
    "took": took, "held": cache.bytes_used, "growth": status("VmRSS") - before, "peak": status("VmHWM") - before,
    "functions": len(image.symbols), "reason": image.reason, "names": names,
}))
"""


@pytest.fixture(scope="module")
def names() -> list[str]:
    return mangled_names(FUNCTIONS)


@pytest.mark.parametrize("megabytes", [16, 12])
def test_half_a_million_functions_are_indexed_in_two_seconds(
    megabytes: int, names: list[str], tmp_path: Path
) -> None:
    """Broken: a profiler of a large service stalls, outgrows its memory, or shows that service without names."""
    write_large_elf(tmp_path / "large", names, SIZE)
    roots = [str(Path(__file__).parents[3]), str(Path(__file__).parents[2])]
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "large"), str(megabytes), *roots]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    wanted = [[names[n], 0x1000 + 192 * n] for n in range(0, FUNCTIONS, 997)]
    if megabytes == 16:
        assert (found["reason"], found["functions"], found["names"]) == ("", FUNCTIONS, wanted)
    else:  # each fourth function is local
        assert found["reason"].startswith("only global functions are named")
        assert found["functions"] == FUNCTIONS * 3 // 4
        assert found["names"] == [name if n * 997 % 4 else None for n, name in enumerate(wanted)]
    assert found["held"] <= megabytes << 20
    assert found["growth"] < 20 << 10
    assert found["peak"] < 80 << 10
    assert found["took"] < 2
