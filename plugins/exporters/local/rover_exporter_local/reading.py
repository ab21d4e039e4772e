"""Queries: tasks, their completeness, and their samples, merged by SQLite."""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, replace

from rover_core.flows import TelemetryMerger
from rover_core.model import (
    Completeness,
    Frame,
    Labels,
    Loss,
    ProcessKey,
    Profile,
    SampleType,
    StackSample,
    Telemetry,
)
from rover_core.policies import CAUSES
from rover_exporter_local.flowpacking import unpack
from rover_exporter_local.intern import from_signed


@dataclass(frozen=True, slots=True)
class TaskSummary:
    """One task in the store. profiles: how many were stored; processes: how many were seen in them.

    causes: what a policy began it for, "" for other tasks.
    """

    task_id: str
    profiler: str
    start_ns: int
    end_ns: int
    profiles: int
    processes: int
    completeness: Completeness
    causes: str = ""


def read_tasks(connection: sqlite3.Connection) -> list[TaskSummary]:
    """Every task, the one that was begun last at the end."""
    rows = connection.execute(
        "SELECT t.id, t.name, t.profiler, min(p.start_ns), max(p.end_ns), count(*)"
        " FROM tasks t JOIN profiles p ON p.task = t.id GROUP BY t.id ORDER BY min(p.start_ns), t.id"
    ).fetchall()
    return [
        TaskSummary(
            *(name, profiler, start_ns, end_ns, profiles),
            processes=_process_count(connection, task),
            completeness=_completeness(connection, task),
            causes=_causes(connection, task),
        )
        for task, name, profiler, start_ns, end_ns, profiles in rows
    ]


def read_task(connection: sqlite3.Connection, name: str) -> Profile | Telemetry | None:
    """Everything stored of a task as one profile, or as one telemetry; None if there is nothing."""
    row = connection.execute(
        "SELECT t.id, t.profiler, t.sample_types, min(p.start_ns), max(p.end_ns), max(p.period_ns)"
        " FROM tasks t JOIN profiles p ON p.task = t.id WHERE t.name = ? GROUP BY t.id",
        (name,),
    ).fetchone()
    if row is None:
        return None
    task, profiler, types, start_ns, end_ns, period_ns = row
    sample_types = tuple(SampleType(*each) for each in json.loads(types))
    completeness, attributes = _completeness(connection, task), _attributes(connection, task)
    if not sample_types:
        whole = Telemetry(name, profiler, start_ns, end_ns, (), completeness, attributes)
        return _added_up(connection, task, whole)
    samples = _samples(connection, task, len(sample_types))
    return Profile(name, profiler, start_ns, end_ns, sample_types, samples, completeness, period_ns, attributes)


def _process_count(connection: sqlite3.Connection, task: int) -> int:
    tables = ("samples", "talkers") if _version(connection) >= 3 else ("samples",)
    queries = (
        f"SELECT s.process FROM {name} s JOIN profiles p ON p.id = s.profile WHERE p.task = ?" for name in tables
    )
    rows = connection.execute(f"SELECT count(*) FROM ({' UNION '.join(queries)})", (task,) * len(tables))
    return int(rows.fetchone()[0])


def _added_up(connection: sqlite3.Connection, task: int, whole: Telemetry) -> Telemetry:
    """Flows, operations and steps over all intervals, one of which is in memory at a time."""
    merger = TelemetryMerger()
    query = "SELECT f.packed FROM flows f JOIN profiles p ON p.id = f.profile WHERE p.task = ? ORDER BY p.id"
    for (packed,) in connection.execute(query, (task,)):
        merger.add(_unpacked(packed, whole))
    found = merger.result() or whole
    return replace(whole, flows=found.flows, operations=found.operations, steps=found.steps)


def _unpacked(packed: bytes, into: Telemetry) -> Telemetry:
    try:
        return unpack(packed, into)
    except ValueError as error:
        raise sqlite3.DatabaseError(str(error)) from error  # as SQLite says it of what it finds damaged itself


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _completeness(connection: sqlite3.Connection, task: int) -> Completeness:
    rows = connection.execute(
        "SELECT c.what, c.cause, sum(c.samples) FROM completeness c JOIN profiles p ON p.id = c.profile"
        " WHERE p.task = ? GROUP BY c.what, c.cause ORDER BY c.what, c.cause",
        (task,),
    ).fetchall()
    whole = {what: samples for what, cause, samples in rows if not cause}
    lost = {Loss(cause): samples for what, cause, samples in rows if what == "lost"}
    degraded = {Loss(cause): samples for what, cause, samples in rows if what == "degraded"}
    return Completeness(whole.get("expected", 0), whole.get("kept", 0), lost, degraded)


def _causes(connection: sqlite3.Connection, task: int) -> str:
    """As its first profile has them: each has."""
    row = connection.execute("SELECT attributes FROM profiles WHERE task = ? ORDER BY id LIMIT 1", (task,)).fetchone()
    return str(json.loads(row[0]).get(CAUSES, ""))


def _attributes(connection: sqlite3.Connection, task: int) -> dict[str, str]:
    merged: dict[str, str] = {}
    for (text,) in connection.execute("SELECT attributes FROM profiles WHERE task = ? ORDER BY id", (task,)):
        merged.update(json.loads(text))
    return merged


def _samples(connection: sqlite3.Connection, task: int, types: int) -> tuple[StackSample, ...]:
    # SQLite adds up, so memory holds the distinct stacks however long the task ran.
    sums = "".join(f", sum(CASE s.type WHEN {kind} THEN s.value ELSE 0 END)" for kind in range(types))
    labels = _labels(connection)
    label = "s.labels" if labels else "0"
    rows = connection.execute(
        f"SELECT s.process, s.user, s.kernel, {label} AS label_set {sums}"
        " FROM samples s JOIN profiles p ON p.id = s.profile"
        " WHERE p.task = ? GROUP BY s.process, s.user, s.kernel, label_set ORDER BY min(s.profile << 32 | s.place)",
        (task,),
    ).fetchall()
    processes = _processes(connection)
    stacks = _stacks(connection, {number for row in rows for number in row[1:3]})
    return tuple(
        StackSample(*processes[process], stacks[user], stacks[kernel], tuple(values), labels.get(number, ()))
        for process, user, kernel, number, *values in rows
    )


def _labels(connection: sqlite3.Connection) -> dict[int, Labels]:
    """Empty in a store of version 1, which has none (and stays as it is until an agent writes to it)."""
    if _version(connection) < 2:
        return {}
    rows = connection.execute("SELECT id, pairs FROM labels")
    return {number: tuple((name, value) for name, value in json.loads(pairs)) for number, pairs in rows}


def _processes(connection: sqlite3.Connection) -> dict[int, tuple[ProcessKey, str]]:
    rows = connection.execute("SELECT id, pid, start_ticks, name FROM processes")
    return {number: (ProcessKey(pid, ticks), name) for number, pid, ticks, name in rows}


def _stacks(connection: sqlite3.Connection, wanted: set[int]) -> dict[int, tuple[Frame, ...]]:
    rows = connection.execute("SELECT id, frames FROM stacks")
    packed = {number: array("I", blob) for number, blob in rows if number in wanted}
    frames = _frames(connection, {frame for stack in packed.values() for frame in stack})
    return {number: tuple(frames[frame] for frame in stack) for number, stack in packed.items()}


def _frames(connection: sqlite3.Connection, wanted: Iterable[int]) -> dict[int, Frame]:
    rows = connection.execute(
        "SELECT f.id, s.text, m.text, f.offset, f.kernel FROM frames f"
        " JOIN strings s ON s.id = f.symbol JOIN strings m ON m.id = f.module"
    )
    return {
        number: Frame(symbol or None, module, from_signed(offset), bool(kernel))
        for number, symbol, module, offset, kernel in rows
        if number in wanted
    }
