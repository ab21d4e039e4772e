"""What the tables cost the agent, measured in a process of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = r"""
import sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from rover_bpf.symbols import Symbolizer
from rover_bpf.symbols.maps import parse_maps
from rover_core.model import ProcessKey

def status(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field))

pid = int(sys.argv[1])
directory = Path("/proc", str(pid))
key = ProcessKey(pid, int((directory / "stat").read_text().rpartition(")")[2].split()[19]))
before = status("VmRSS")
symbolizer = Symbolizer()
symbolizer.observe(key)
symbolizer.kernel([2**64 - 1])
for mapping in parse_maps((directory / "maps").read_bytes()):
    symbolizer.user(key, range(mapping.start, min(mapping.end, mapping.start + 500_000), 1000))
print(status("VmRSS") - before, status("VmHWM") - before, symbolizer.stats.bytes_used // 1024)
"""


@pytest.mark.skipif(not shutil.which("node"), reason="no node here")
@pytest.mark.skipif(os.getuid() != 0, reason="needs kernel addresses")
def test_kernel_node_and_libc_leave_room_for_the_agent() -> None:
    """All of the agent has 60 MB, of which Python and numpy take 32."""
    with subprocess.Popen(["node", "-e", "console.log(1); setInterval(() => {}, 1000)"], stdout=-1) as node:
        try:
            assert node.stdout
            node.stdout.readline()
            roots = [str(Path(__file__).parents[3]), str(Path(__file__).parents[2])]
            command = [sys.executable, "-c", SCRIPT, str(node.pid), *roots]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        finally:
            node.kill()
    growth, peak, tables = map(int, output.split())
    assert tables <= 16 << 10
    assert growth < 20 << 10, f"{growth} kB for {tables} kB of tables"
    assert peak < 26 << 10
