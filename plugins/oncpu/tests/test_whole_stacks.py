"""Whole stacks of programs without frame pointers, on the real kernel."""

import shutil
import time
from collections.abc import Iterator
from subprocess import Popen

import pytest

from rover_bpf.stackprofiler import StackProfiler
from rover_core import procfs
from rover_core.model import Loss, Profile, StackSample, Task
from rover_oncpu.profiler import create
from rover_oncpu.settings import OnCpuSettings

pytestmark = pytest.mark.kernel

PYTHON = "/usr/bin/python3"
DEEP = "def deep(n):\n return deep(n - 1) if n else sum(i * i for i in range(1000))\nwhile True: deep(20)\n"


@pytest.fixture
def profiler() -> Iterator[StackProfiler]:
    profiler = create(OnCpuSettings(dump_period=1_000_000))
    yield profiler
    profiler.close()


def profile(profiler: StackProfiler, program: "Popen[str]", seconds: float = 1.5, **settings: object) -> Profile:
    time.sleep(0.3)  # past its start-up
    process = procfs.read_process(program.pid)
    assert process is not None
    profiler.start(Task("whole", "ON_CPU", settings=settings), [process])
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.1)
        profiler.tick()
    last = profiler.stop("whole")
    assert last is not None
    return last


def share(profile: Profile, name: str) -> float:
    """Of the samples: those with a frame of this name."""
    having = [s for s in profile.samples if any(frame.symbol == name for frame in s.user)]
    return events(having) / events(profile.samples)


def events(samples: "list[StackSample] | tuple[StackSample, ...]") -> int:
    return sum(sample.values[0] for sample in samples)


def test_cpython_is_whole_down_to_its_start(profiler, start) -> None:  # type: ignore[no-untyped-def]
    """Broken: of CPython, which has no frame pointers, only the innermost function is seen."""
    seen = profile(profiler, start(PYTHON, "-c", DEEP))
    assert events(seen.samples) > 100
    assert share(seen, "_PyEval_EvalFrameDefault") > 0.99
    assert share(seen, "_start") > 0.99
    assert Loss.BROKEN_STACK not in seen.completeness.degraded


def test_frame_pointers_alone_say_that_stacks_are_broken(profiler, start) -> None:  # type: ignore[no-untyped-def]
    """Broken: stacks that led astray pass for good ones, and nobody knows to ask for another way."""
    seen = profile(profiler, start(PYTHON, "-c", DEEP), unwind="fp")
    assert share(seen, "_start") < 0.1
    assert seen.completeness.degraded.get(Loss.BROKEN_STACK, 0) > 0.2 * events(seen.samples)


@pytest.mark.parametrize("flags", [("-O2", "-fomit-frame-pointer"), ("-O2", "-fomit-frame-pointer", "-static")])
def test_c_without_frame_pointers_is_whole(profiler, build, start, flags: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    """Broken: optimized C programs lose their callers."""
    program = start(build("shares.c", *flags), "60000")
    program.stdin.write("\n")
    program.stdin.flush()
    seen = profile(profiler, program)
    assert events(seen.samples) > 100
    assert share(seen, "call_23") > 0.99
    assert share(seen, "_start") > 0.99


def test_rust_is_whole(profiler, build, start) -> None:  # type: ignore[no-untyped-def]
    """Broken: Rust programs, built as they are by default, lose their callers."""
    seen = profile(profiler, start(build("names.rs", "-Cforce-frame-pointers=no"), "60"))
    assert share(seen, "names::main") > 0.99
    assert share(seen, "_start") > 0.99


def test_node_is_whole(profiler, start) -> None:  # type: ignore[no-untyped-def]
    """Broken: compiled JavaScript, which has frame pointers and no tables, ends a stack."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    seen = profile(profiler, start(node, "-e", "function f(n){return n<2?n:f(n-1)+f(n-2)} for(;;) f(25)"))
    assert share(seen, "_start") > 0.97


def test_go_shows_who_called_a_function_without_a_frame(profiler, build, start) -> None:  # type: ignore[no-untyped-def]
    """Broken: the caller of a Go program's hottest function is missing, since frame pointers do not tell of it."""
    seen = profile(profiler, start(build("names.go"), "60"))
    assert share(seen, "main.iterate") > 0.9
    assert share(seen, "main.main") > 0.99 * share(seen, "main.iterate")
    assert share(seen, "runtime.main") > 0.99 * share(seen, "main.iterate")
