"""What every plugin of a kind must do, as suites to subclass in the plugin's own tests.

A suite is the contract of `rover_core.api` in executable form. A test that a plugin cannot pass is overridden with a
reason, for all to see.
"""

import asyncio
import io
import os
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from rover_core.api import Batch, Exporter, ProfileFormat, Profiler, TogetherFormat
from rover_core.model import Completeness, Frame, Loss, Process, ProcessKey, Profile, StackSample, Task
from rover_core.testing.fakes import FakeContext
from rover_core.testing.records import make_profile, make_sample, make_sampled, make_telemetry, this_process

HOSTILE = "</script>;,\"'\n\r\t\x1b[31m\x00\udcff\N{SNOWMAN}"
"""What a binary's symbol table may hold."""


def hostile_profile() -> Profile:
    """Empty, endless and malicious names; stacks of the kernel alone, of nothing, without symbols."""
    places: list[tuple[str, tuple[Frame, ...], tuple[Frame, ...]]] = [
        (HOSTILE, (Frame(HOSTILE, HOSTILE, 1), Frame("x" * 100_000, "", 0)), ()),
        ("kworker/0:1", (), (Frame("entry", "[kernel]", 7, kernel=True),)),
        ("", (Frame(None, "", 2**64 - 1), Frame(None, "libssl.so.3", 0x1F0)), ()),
        ("nothing", (), ()),
    ]
    labels = ((HOSTILE, HOSTILE), ("", ""))
    samples = [StackSample(ProcessKey(9, 9), *place, (2**40, 2**60), labels) for place in places]
    words = {HOSTILE: HOSTILE, f"mark:{HOSTILE}={HOSTILE}": HOSTILE, "text:nothing": HOSTILE}
    kept = sum(sample.values[0] for sample in samples)
    lost = Completeness(kept + 5, kept, {Loss.MAP_FULL: 5}, {Loss.UNSYMBOLIZED: 3})
    return make_profile(*samples, task_id=HOSTILE, completeness=lost, attributes=words)


def empty_profile() -> Profile:
    """Of a task that saw nothing."""
    return make_profile(samples=(), completeness=Completeness())


class ProfilerConformance(ABC):
    """Give it `make`; `task` and `work` if the defaults do not suit. Tests run against this very process."""

    @abstractmethod
    def make(self) -> Profiler:
        """A profiler that runs nothing yet."""

    def task(self, task_id: str, profiler: Profiler) -> Task:
        """A task this profiler takes."""
        return Task(task_id, profiler.name)

    def work(self) -> None:
        """Do something this profiler sees."""
        end = time.process_time() + 0.2
        while time.process_time() < end:
            sum(range(1000))

    @contextmanager
    def _running(self, *task_ids: str, processes: Sequence[Process] | None) -> Iterator[Profiler]:
        profiler = self.make()
        try:
            for task_id in task_ids:
                profiler.start(self.task(task_id, profiler), processes)
            yield profiler
        finally:
            profiler.close()

    def test_a_task_delivers_until_it_is_stopped(self) -> None:
        """Broken: a profile is missing, belongs to no task, or a task's last one does not say so."""
        with self._running("one", processes=[this_process()]) as profiler:
            self.work()
            profiler.tick()
            (drained,) = profiler.drain()
            last = profiler.stop("one")
            assert last is not None
            assert [(each.task_id, each.profiler, each.last) for each in (drained, last)] == [
                ("one", profiler.name, False),
                ("one", profiler.name, True),
            ]
            assert _content(drained), "it saw nothing of the work"
            assert profiler.stop("one") is None
            assert list(profiler.drain()) == []

    def test_every_sample_is_accounted_for(self) -> None:
        """Broken: the ledger does not add up, or values do not match the sample types."""
        with self._running("one", processes=None) as profiler:
            self.work()
            batch = profiler.stop("one")
            assert batch is not None
            check_batch(batch)

    def test_profiles_of_a_task_follow_each_other(self) -> None:
        """Broken: time is profiled twice, or not at all."""
        with self._running("one", processes=[this_process()]) as profiler:
            profiles = [*profiler.drain(), *profiler.drain(), profiler.stop("one")]
            spans = [(each.start_ns, each.end_ns) for each in profiles if each]
            assert all(start <= end for start, end in spans)
            assert all(first[1] <= second[0] for first, second in pairwise(spans))

    def test_tasks_do_not_end_each_other(self) -> None:
        """Broken: stopping one task takes another along, or a quiet task delivers no (empty) profile."""
        with self._running("one", "two", processes=[this_process()]) as profiler:
            assert {each.task_id for each in profiler.drain()} == {"one", "two"}
            assert profiler.stop("one")
            self.work()
            assert [each.task_id for each in profiler.drain()] == ["two"]

    def test_what_is_not_there_is_no_error(self) -> None:
        """Broken: a race between a task's end and a tick, a drain or a process's exit is an error."""
        profiler = self.make()
        profiler.tick()
        assert list(profiler.drain()) == []
        assert profiler.stop("none") is None
        profiler.forget("none", ProcessKey(1, 1))
        profiler.close()
        profiler.close()

    def test_a_process_that_exits_leaves_the_task(self) -> None:
        """Broken: the exit of one of a task's processes ends the task or loses what was seen of it."""
        with self._running("one", processes=[this_process()]) as profiler:
            self.work()
            profiler.forget("one", this_process().key)
            profiler.forget("one", this_process().key)
            (profile,) = profiler.drain()
            assert _content(profile)

    def test_closing_gives_everything_back(self) -> None:
        """Broken: each start and stop leaves descriptors behind, until the agent has no more of them."""
        with self._running("warm", processes=None):
            pass
        before = _descriptors()
        with self._running("one", "two", processes=None) as profiler:
            profiler.drain()
        assert profiler.stop("one") is None, "tasks still running are over"
        assert _descriptors() == before


def check_batch(batch: Batch) -> None:
    """Assert what holds for all that profilers deliver."""
    entry = batch.completeness
    assert entry.expected == entry.kept + sum(entry.lost.values())
    if isinstance(batch, Profile):
        _check_profile(batch)


def _check_profile(profile: Profile) -> None:
    assert all(len(sample.values) == len(profile.sample_types) for sample in profile.samples)
    if profile.period_ns:
        assert sum(sample.values[0] for sample in profile.samples) == profile.completeness.kept
    assert all(frame.kernel for sample in profile.samples for frame in sample.kernel)
    assert not any(frame.kernel for sample in profile.samples for frame in sample.user)


def _content(batch: Batch) -> Sequence[object]:
    return batch.samples if isinstance(batch, Profile) else [*batch.meters, *batch.flows]


def _descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


class ExporterConformance(ABC):
    """Give it `make`. What it exports to must be there, or be faked by the plugin's tests."""

    @abstractmethod
    def make(self, folder: Path) -> Exporter:
        """An exporter that is not started. folder: an empty one, for what it may write."""

    def _export(self, *batches: Batch, after: Callable[[], None] = lambda: None) -> Sequence[str]:
        async def run(exporter: Exporter) -> Sequence[str]:
            await exporter.start(FakeContext())
            for batch in batches:
                await exporter.export(batch)
            lines = await exporter.stop()
            after()
            return lines

        with tempfile.TemporaryDirectory() as folder:
            return asyncio.run(run(self.make(Path(folder))))

    def test_it_stops_with_lines_for_a_person(self) -> None:
        """Broken: `rover run` prints an object, or letters one by one."""
        lines = self._export(make_profile(), make_profile(make_sample(count=3), last=True))
        assert not isinstance(lines, str)
        assert all(isinstance(line, str) and "\n" not in line for line in lines)

    def test_it_stops_without_ever_having_had_anything(self) -> None:
        """Broken: an agent that is stopped at once ends with an error."""
        self._export()

    def test_it_takes_what_others_refuse(self) -> None:
        """Broken: one binary with strange names, or an idle minute, and the batch is lost."""
        self._export(empty_profile(), hostile_profile(), make_profile(task_id="other"))

    def test_every_kind_of_batch_is_taken(self) -> None:
        """Broken: a profiler of another kind, of which this exporter has no use, makes every export fail."""
        self._export(make_profile(), make_telemetry(samples=(make_sampled(),)), make_telemetry(last=True))

    def test_it_leaves_nothing_running(self) -> None:
        """Broken: after its stop an exporter still works, on what nobody waits for."""

        def check() -> None:
            assert len(asyncio.all_tasks()) == 1, "only the one that asks"

        self._export(make_profile(), after=check)


class _Pipe(io.BytesIO):
    """What a format may do with its file: write, no more."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation("a pipe cannot seek")

    def tell(self) -> int:
        raise io.UnsupportedOperation("a pipe cannot tell")


class FormatConformance(ABC):
    """Give it `make`."""

    @abstractmethod
    def make(self) -> ProfileFormat:
        """The format."""

    def _written(self, profile: Profile) -> bytes:
        out = _Pipe()
        self.make().write(profile, out)
        assert not out.closed, "the file is the caller's to close"
        return out.getvalue()

    def test_it_is_named_as_the_command_line_needs_it(self) -> None:
        """Broken: `--format` or the ending of `--output` cannot select it, or help does not explain it."""
        made = self.make()
        assert made.name == made.name.lower().strip()
        assert made.name not in ("", "table", "-")
        assert made.extension
        assert not made.extension.startswith(".")
        assert made.description

    def test_it_writes_to_a_pipe(self) -> None:
        """Broken: `--output -` fails, or the file is closed under the caller."""
        assert self._written(make_profile())

    def test_several_profiles_share_a_file_if_it_says_so(self) -> None:
        """Broken: `rover profile both` writes one of its profiles only, or cannot be compared."""
        made = self.make()
        if isinstance(made, TogetherFormat):
            out, again = _Pipe(), _Pipe()
            made.write_together([make_profile(), hostile_profile(), empty_profile()], out)
            made.write_together([make_profile(), hostile_profile(), empty_profile()], again)
            assert out.getvalue() == again.getvalue()
            assert out.getvalue() != self._written(make_profile())

    def test_equal_profiles_make_equal_files(self) -> None:
        """Broken: files cannot be compared."""
        assert self._written(make_profile()) == self._written(make_profile())

    def test_it_writes_what_others_refuse(self) -> None:
        """Broken: one binary with strange names, or an idle minute, and the file is lost."""
        for profile in (empty_profile(), hostile_profile()):
            data = self._written(profile)
            if not self.make().binary:
                data.decode()
