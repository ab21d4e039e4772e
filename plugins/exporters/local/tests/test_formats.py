"""Folded stacks, speedscope and pprof; the latter two read back by what others made."""

import gzip
import io
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from rover_core.model import Profile
from rover_exporter_local.formats import FORMATS
from rover_exporter_local.protobuf import varint

go = pytest.mark.skipif(shutil.which("go") is None, reason="go tool pprof needs go in the path")

# message: {field: (number, type, repeated)}; from https://github.com/google/pprof/blob/main/proto/profile.proto
SCHEMA: dict[str, dict[str, tuple[int, str, bool]]] = {
    "ValueType": {"type": (1, "int64", False), "unit": (2, "int64", False)},
    "Label": {"key": (1, "int64", False), "str": (2, "int64", False), "num": (3, "int64", False)},
    "Sample": {"location_id": (1, "uint64", True), "value": (2, "int64", True), "label": (3, "Label", True)},
    "Mapping": {"id": (1, "uint64", False), "filename": (5, "int64", False), "has_functions": (7, "bool", False)},
    "Line": {"function_id": (1, "uint64", False)},
    "Location": {
        "id": (1, "uint64", False),
        "mapping_id": (2, "uint64", False),
        "address": (3, "uint64", False),
        "line": (4, "Line", True),
    },
    "Function": {"id": (1, "uint64", False), "name": (2, "int64", False), "system_name": (3, "int64", False)},
    "Profile": {
        "sample_type": (1, "ValueType", True),
        "sample": (2, "Sample", True),
        "mapping": (3, "Mapping", True),
        "location": (4, "Location", True),
        "function": (5, "Function", True),
        "string_table": (6, "string", True),
        "time_nanos": (9, "int64", False),
        "duration_nanos": (10, "int64", False),
        "period_type": (11, "ValueType", False),
        "period": (12, "int64", False),
        "comment": (13, "int64", True),
        "default_sample_type": (14, "int64", False),
    },
}


def written(name: str, profile: Profile) -> bytes:
    out = io.BytesIO()
    FORMATS[name].write(profile, out)
    return out.getvalue()


def profile_message() -> Any:
    """The Profile class of protobuf's own runtime, from the schema above."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="profile.proto", package="p", syntax="proto3")
    for message, fields in SCHEMA.items():
        made = file.message_type.add(name=message)
        for name, (number, kind, repeated) in fields.items():
            label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            field = made.field.add(name=name, number=number, label=label)
            if kind in SCHEMA:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".p.{kind}"
            else:
                field.type = getattr(kinds, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("p.Profile"))()


@pytest.mark.parametrize("name", FORMATS)
def test_formats_are_what_they_say(name: str, empty: Profile) -> None:
    """Broken: a format that cannot write an empty profile, or two that share an extension."""
    assert FORMATS[name].name == name
    assert not FORMATS[name].extension.startswith(".")
    assert len({each.extension for each in FORMATS.values()}) == len(FORMATS)
    written(name, empty)


def test_folded(profile: Profile) -> None:
    """Broken: stackcollapse's consumers misread process, order, kernel frames or separators inside names."""
    lines = written("folded", profile).decode().splitlines()
    assert lines == [
        "shop;main;parse:line feed 5",
        "shop;main;read;entry_SYSCALL_64_[k];vfs_read_[k] 5",
        "nginx;[unknown]+0xfffffffffffff000;libssl.so.3+0x1f0 4",
        "evil;</script><img src=x onerror=alert(1)> 1",
        "kworker/0:1;entry_SYSCALL_64_[k] 1",
    ]


def test_time_is_folded_in_microseconds_and_labels_on_top(waiting: Profile) -> None:
    """Broken: readers of offcputime -f are wrong by a factor of thousand, or preemption looks like waiting."""
    stack = "shop;main;read;entry_SYSCALL_64_[k];vfs_read_[k]"
    lines = written("folded", waiting).decode().splitlines()
    assert lines == [f"{stack};[still waiting] 4500", f"{stack};[preempted] 3000", f"{stack} 1500"]
    short = replace(waiting, samples=(replace(waiting.samples[0], values=(499, 1)),))
    assert written("folded", short) == b""


def test_labels_are_frames_in_speedscope(waiting: Profile) -> None:
    """Broken: preempted and waiting are one."""
    document = json.loads(written("speedscope", waiting))
    frames = [frame["name"] for frame in document["shared"]["frames"]]
    tops = [frames[stack[-1]] for stack in document["profiles"][0]["samples"]]
    assert tops == ["vfs_read", "[preempted]", "[still waiting]"]


def test_pprof_has_all_labels_and_all_sample_types(waiting: Profile) -> None:
    """Broken: `-tagfocus=state=preempted` finds nothing, or contentions are missing."""
    message = profile_message()
    message.ParseFromString(gzip.decompress(written("pprof", waiting)))
    text = message.string_table
    labels = [{text[each.key]: text[each.str] for each in sample.label if each.str} for sample in message.sample]
    assert labels == [{"process": "shop", **dict(sample.labels)} for sample in waiting.samples]
    assert [text[each.type] for each in message.sample_type] == ["delay", "contentions"]
    assert [tuple(each.value) for each in message.sample] == [each.values for each in waiting.samples]
    assert not any("[" in text[function.name] for function in message.function)
    assert not any("mark:" in text[each] for each in message.comment)


def test_speedscope(profile: Profile) -> None:
    """Broken: speedscope refuses the file or shows wrong weights."""
    document = json.loads(written("speedscope", profile))
    assert document["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    assert [each["name"] for each in document["profiles"]][:2] == ["shop (10)", "nginx (12)"]
    frames = document["shared"]["frames"]
    for each in document["profiles"]:
        assert set(each) == {"type", "name", "unit", "startValue", "endValue", "samples", "weights"}
        assert (each["type"], each["unit"], each["startValue"]) == ("sampled", "none", 0)
        assert len(each["samples"]) == len(each["weights"])
        assert each["endValue"] == sum(each["weights"])
        assert all(0 <= frame < len(frames) for stack in each["samples"] for frame in stack)
    first = [frames[n]["name"] for n in document["profiles"][0]["samples"][1]]
    assert first == ["main", "read", "entry_SYSCALL_64", "vfs_read"]
    assert all(isinstance(frame["name"], str) for frame in frames)


def test_speedscope_knows_units_of_time(profile: Profile) -> None:
    """Broken: time shown as a count."""
    timed = Profile("t", "OFF_CPU", 0, 1, profile.sample_types[1:], profile.samples, profile.completeness)
    assert {each["unit"] for each in json.loads(written("speedscope", timed))["profiles"]} == {"nanoseconds"}


def test_pprof_reads_back(profile: Profile) -> None:
    """Broken: any reader of pprof files gets wrong numbers, names, labels or times."""
    message = profile_message()
    message.ParseFromString(gzip.decompress(written("pprof", profile)))
    text = message.string_table
    assert text[0] == ""
    assert [(text[t.type], text[t.unit]) for t in message.sample_type] == [
        ("samples", "count"),
        ("cpu", "nanoseconds"),
    ]
    assert (message.time_nanos, message.duration_nanos) == (profile.start_ns, 15_000_000_000)
    assert (text[message.period_type.type], message.period) == ("cpu", 10_000_000)
    assert text[message.default_sample_type] == "samples"
    assert "incomplete: 94.1 % of 17 samples kept" in text[message.comment[-1]]
    assert [tuple(s.value) for s in message.sample] == [s.values for s in profile.samples]
    names = {function.id: text[function.name] for function in message.function}
    modules = {mapping.id: text[mapping.filename] for mapping in message.mapping}
    places = {at.id: (names[at.line[0].function_id], modules.get(at.mapping_id, "")) for at in message.location}
    assert [places[n] for n in message.sample[1].location_id] == [
        ("vfs_read", "[kernel]"),
        ("entry_SYSCALL_64", "[kernel]"),
        ("read", "libc.so.6"),
        ("main", "shop"),
    ]
    assert {at.address for at in message.location} == {0, 0x1F0, 0xFFFF_FFFF_FFFF_F000}
    labels = {text[each.key]: text[each.str] or each.num for each in message.sample[0].label}
    assert labels == {"process": "shop", "pid": 10}


@go
def test_go_reads_pprof(profile: Profile, tmp_path: Path) -> None:
    """Broken: `go tool pprof` refuses the file."""
    path = tmp_path / "profile.pb.gz"
    path.write_bytes(written("pprof", profile))
    top = pprof("-top", path)
    assert "Type: samples" in top
    assert "Total samples = 16" in top
    assert "vfs_read" in top
    raw = pprof("-raw", path)
    assert "PeriodType: cpu nanoseconds" in raw
    assert "process:[shop]" in raw
    rooted = pprof("-tagroot=process", "-peek=^main$", path)
    assert "shop" in rooted


def pprof(*arguments: str | Path) -> str:
    command = ["go", "tool", "pprof", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


@given(st.integers(-(1 << 63), (1 << 64) - 1))
def test_varints_hold_every_number(number: int) -> None:
    """Broken: large addresses or negative numbers become others."""
    content = varint(number)
    value = sum((byte & 0x7F) << 7 * position for position, byte in enumerate(content))
    assert value == number % (1 << 64)
    assert all(byte & 0x80 for byte in content[:-1])
    assert content[-1] < 0x80


@pytest.mark.parametrize("name", FORMATS)
def test_large_profiles_are_written_in_seconds(name: str, scattered: Callable[[int], Profile]) -> None:
    """Broken: something quadratic crept in. 20 000 stacks take about half a second."""
    import time

    profile = scattered(20_000)
    begin = time.process_time()
    written(name, profile)
    assert time.process_time() - begin < 10
