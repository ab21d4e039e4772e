"""Programs of other compilers, where they are installed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rover_bpf.symbols import Symbolizer
from rover_core.model import ProcessKey

Run = Callable[..., Any]

RUST = """
mod shop { #[inline(never)] pub fn total(n: usize) -> usize { std::hint::black_box(n * 3) } }
fn main() {
    println!("total {:p}\\nready 0", shop::total as *const ());
    std::io::stdin().read_line(&mut String::new()).unwrap();
    println!("{}", shop::total(1));
}
"""
GO = """
package main
import ("bufio"; "fmt"; "os"; "reflect")
//go:noinline
func sqrtGolang(n int) int { return n * 3 }
func main() {
    fmt.Printf("sqrt %#x\\nready 0\\n", reflect.ValueOf(sqrtGolang).Pointer())
    bufio.NewReader(os.Stdin).ReadString('\\n')
}
"""


def needed(tool: str) -> str:
    return shutil.which(tool) or pytest.skip(f"no {tool} here")


@pytest.mark.parametrize("mangling", ["legacy", "v0"])
def test_rust_paths_without_their_hash(mangling: str, run: Run, symbolizer: Symbolizer, tmp_path: Path) -> None:
    (tmp_path / "shop.rs").write_text(RUST)
    flags = ["-C", f"symbol-mangling-version={mangling}", "-O"]
    if mangling == "legacy":
        flags += ["-Z", "unstable-options"]
    command = [needed("rustc"), *flags, "-o", str(tmp_path / "shop"), str(tmp_path / "shop.rs")]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "RUSTC_BOOTSTRAP": "1"})
    program = run(tmp_path / "shop")
    symbolizer.observe(program.key)
    assert symbolizer.user(program.key, [program.addresses["total"]])[0].symbol == "shop::shop::total"


def test_go_names_as_they_are(run: Run, symbolizer: Symbolizer, tmp_path: Path) -> None:
    (tmp_path / "sqrt.go").write_text(GO)
    if not os.access(Path.home(), os.W_OK):
        pytest.skip("no home to keep the compiled standard library in")
    command = [needed("go"), "build", "-o", str(tmp_path / "sqrt"), str(tmp_path / "sqrt.go")]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    program = run(tmp_path / "sqrt")
    symbolizer.observe(program.key)
    assert symbolizer.user(program.key, [program.addresses["sqrt"]])[0].symbol == "main.sqrtGolang"


def test_javascript_by_the_map_that_node_writes(symbolizer: Symbolizer, tmp_path: Path) -> None:
    script = (
        "function hotFunction(n) { let x = 0; for (let i = 0; i < n; i++) x += Math.sqrt(i); return x }"
        "for (let i = 0; i < 200; i++) hotFunction(1e5); console.log('ready'); process.stdin.resume()"
    )
    command = [needed("node"), "--perf-basic-prof", "-e", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path) as node:
        written = Path(f"/tmp/perf-{node.pid}.map")
        try:
            assert node.stdout
            assert node.stdout.readline() == b"ready\n"
            key = key_of(node.pid)
            symbolizer.observe(key)
            compiled = [line.split(None, 2) for line in written.read_text().splitlines() if "hotFunction" in line]
            frames = symbolizer.user(key, [int(start, 16) + 1 for start, _, _ in compiled])
            named = [frame for frame in frames if frame.symbol and "hotFunction" in frame.symbol]
            # The interpreter's byte code is in the map too, but no processor ever runs in it.
            assert named
            assert {frame.module for frame in named} == {"[jit]"}
        finally:
            node.kill()
            written.unlink(missing_ok=True)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="CPython writes perf maps since 3.12")
def test_python_functions_by_the_map_that_cpython_writes(symbolizer: Symbolizer) -> None:
    script = "def hot_function():\n print('ready', flush=True)\n input()\nhot_function()"
    with subprocess.Popen([sys.executable, "-X", "perf", "-c", script], stdin=-1, stdout=-1) as python:
        written = Path(f"/tmp/perf-{python.pid}.map")
        try:
            assert python.stdout
            assert python.stdout.readline() == b"ready\n"
            symbolizer.observe(key_of(python.pid))
            line = next(line for line in written.read_text().splitlines() if "hot_function" in line)
            (frame,) = symbolizer.user(key_of(python.pid), [int(line.split()[0], 16)])
            assert frame.symbol
            assert "hot_function" in frame.symbol
        finally:
            python.kill()
            written.unlink(missing_ok=True)


def key_of(pid: int) -> ProcessKey:
    return ProcessKey(pid, int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]))
