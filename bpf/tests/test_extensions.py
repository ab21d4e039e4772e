"""Programs beside the one with the maps: compiled together where that works, and as broken as they are alone."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rover_bpf.loader import load
from rover_bpf.maps import BpfMap
from rover_bpf.source import Extension, Function, ProgramSource

pytestmark = pytest.mark.kernel

MAIN = """
#include <rover/rover.h>
BPF_TABLE_PUBLIC("prog", u32, u32, slots, 4);
BPF_TABLE_PUBLIC("prog", u32, u32, uprobe_slots, 4);
int on_raw(void *ctx) { slots.call(ctx, 0); return 0; }
int on_uprobe(void *ctx) { uprobe_slots.call(ctx, 0); return 0; }
"""
PART = """
#include <rover/rover.h>
#include HEADER
#ifndef PARTS
#define PARTS
BPF_TABLE("extern", u32, u32, slots, 4);
#endif
int ON_PART(void *ctx) { slots.call(ctx, VALUE()); return 0; }
"""
GOOD = "static int {name}_value(void) {{ return 1; }}"
SAME_HELPER = "static int helper(void) {{ return 1; }}\nstatic int {name}_value(void) {{ return helper(); }}"
NOT_C = "static int {name}_value(void) {{ return }}"
REFUSED = "static int {name}_value(void) {{ return *(volatile int *)0; }}"


@pytest.fixture(autouse=True)
def compiled_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROVER_PROGRAM_CACHE", "")


def part(folder: Path, name: str, header: str) -> Extension:
    (folder / f"{name}.h").write_text(header.format(name=name))
    functions = {
        name: Function(f"on_{name}", "RAW_TRACEPOINT"),
        f"{name} in uprobes": Function(f"on_{name}", "UPROBE", {"slots": "uprobe_slots"}),
    }
    defines = {"HEADER": f'"{folder / name}.h"', "VALUE": f"{name}_value", "ON_PART": f"on_{name}"}
    return Extension(folder / "part.bpf.c", functions, defines, repeatable=True)


def source(folder: Path, **headers: str) -> ProgramSource:
    (folder / "main.bpf.c").write_text(MAIN)
    (folder / "part.bpf.c").write_text(PART)
    parts = tuple(part(folder, name, header) for name, header in headers.items())
    functions = {"on_raw": "RAW_TRACEPOINT", "on_uprobe": "UPROBE"}
    return ProgramSource(folder / "main.bpf.c", functions, extensions=parts)


def texts(source: ProgramSource) -> Iterator[str]:
    for each in source.request()["extensions"]:
        yield each["text"]


def test_those_of_one_text_are_compiled_at_once(tmp_path: Path) -> None:
    """Broken: each protocol makes the first start a quarter of a second longer; or one's header is another's."""
    some = source(tmp_path, one=GOOD, two=GOOD.replace("1", "2"))
    (text,) = texts(some)
    assert text.count("struct bpf_perf_event_data {") == 1, "what all include is there once"
    with load(some) as program:
        assert not program.errors
        assert {"one", "two", "one in uprobes", "two in uprobes"} < program.functions.keys()


def test_what_is_compiled_once_runs_in_both_chains(tmp_path: Path) -> None:
    """Broken: a program for uprobes goes on with one for tracepoints, which the kernel does not let it call."""
    with load(source(tmp_path, one=GOOD)) as program:
        for slots, name in (("slots", "one"), ("uprobe_slots", "one in uprobes")):
            BpfMap(program.maps[slots], "<u4", "<u4").update(0, program.functions[name])
        with pytest.raises(OSError, match="Invalid argument"):
            BpfMap(program.maps["slots"], "<u4", "<u4").update(0, program.functions["one in uprobes"])


WRONG = [(NOT_C, "broken.h:1:40: error: expected expression"), (REFUSED, "invalid mem access")]


@pytest.mark.parametrize(("header", "said"), WRONG)
def test_a_broken_one_is_broken_alone(tmp_path: Path, header: str, said: str) -> None:
    """Broken: one plugin's mistake takes all the protocols away, or nobody can tell whose it is."""
    before = len(os.listdir("/proc/self/fd"))
    with load(source(tmp_path, one=GOOD, broken=header, two=GOOD)) as program:
        assert program.errors.keys() == {"broken", "broken in uprobes"}
        assert {"one", "two", "one in uprobes", "two in uprobes"} < program.functions.keys()
        assert all(said in why for why in program.errors.values())
    assert len(os.listdir("/proc/self/fd")) == before


def test_those_that_do_not_bear_each_other_are_all_there(tmp_path: Path) -> None:
    """Broken: two plugins that call a function the same are not both read."""
    with load(source(tmp_path, one=SAME_HELPER, two=SAME_HELPER)) as program:
        assert not program.errors
        assert {"one", "two"} < program.functions.keys()
