"""The fakes that plugin authors test with keep to the interfaces they stand in for."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from classifying import compiled, random_heads

from rover_core.api import AgentContext, Discoverer, Exporter, Profiler, WireProtocol
from rover_core.model import Task
from rover_core.testing import (
    ExporterConformance,
    FakeContext,
    FakeDiscoverer,
    FakeExporter,
    FakeProfiler,
    ProfilerConformance,
    ProtocolConformance,
    Transcript,
    this_process,
)
from rover_core.wire import Connection, Exchange, InOrder, Limits, Message, Outcome

TUTORIAL = (Path(__file__).parents[2] / "docs" / "writing-a-protocol.md").read_text()


def tutorial() -> dict[str, Any]:
    """What the Python of docs/writing-a-protocol.md defines."""
    names: dict[str, Any] = {"__name__": "tutorial"}
    exec("\n".join(re.findall(r"```python\n(.*?)```", TUTORIAL, re.DOTALL)), names)
    return names


TestTutorial = tutorial()["TestTally"]
"""Broken: who follows docs/writing-a-protocol.md gets something that does not work."""


class TestFakeProfiler(ProfilerConformance):
    def make(self) -> Profiler:
        return FakeProfiler()


class TestFakeExporter(ExporterConformance):
    def make(self, folder: Path) -> Exporter:
        return FakeExporter(results=["a file"])


def test_fakes_are_what_they_stand_for() -> None:
    """Broken: a plugin's tests pass against a fake that is unlike the agent."""
    context: AgentContext = FakeContext([this_process()])
    discoverer: Discoverer = FakeDiscoverer(processes=context.processes)
    assert context.find_process(this_process().pid) == next(iter(discoverer.scan()))
    context.submit(Task("t", "FAKE"))
    context.cancel("t")
    assert isinstance(context, FakeContext)
    assert list(context.tasks) == context.cancelled == ["t"]


def test_a_suite_notices_what_is_wrong() -> None:
    """Broken: the suites pass whatever a plugin does."""

    class Forgetful(FakeProfiler):
        def stop(self, task_id: str) -> None:
            return None

    class Suite(ProfilerConformance):
        def make(self) -> Profiler:
            return Forgetful()

    with pytest.raises(AssertionError):
        Suite().test_a_task_delivers_until_it_is_stopped()
    with pytest.raises(AssertionError):
        Suite().test_every_sample_is_accounted_for()


def test_the_tutorials_classifier_works(tmp_path: Path) -> None:
    """Broken: who follows docs/writing-a-protocol.md gets a classifier that does not compile or takes anything."""
    classifier, selector = re.findall(r"```c\n(.*?)```", TUTORIAL, re.DOTALL)[:2]
    header = tmp_path / "tally_classify.h"
    header.write_text(classifier + selector)
    names = tutorial()
    (made,) = names["rover_protocols"]()
    classify = compiled(WireProtocol(made.name, made.label, header, made.capture, made.connect), tmp_path)
    assert [classify(names["frame"](kind, 1, b"x")) for kind in (1, 2, 3)] == [1, 2, 0]
    assert not any(classify(head) for head in random_heads(50_000))


def suite_of(connect: Any) -> ProtocolConformance:
    """The tutorial's suite over its protocol with another parser."""
    names = tutorial()
    (made,) = names["rover_protocols"]()

    class Suite(ProtocolConformance):
        def make(self) -> WireProtocol:
            return WireProtocol(
                made.name, made.label, made.classifier, made.capture, lambda limits: connect(names, limits)
            )

        def transcripts(self) -> Sequence[Transcript]:
            transcripts: Sequence[Transcript] = names["TestTally"]().transcripts()
            return transcripts

    return Suite()


def test_the_suite_of_protocols_notices_wrong_pairs() -> None:
    """Broken: a protocol that gives responses to the wrong requests passes."""

    class Shifting(InOrder):
        def lost(self, direction: int, answering: bool) -> None:
            pass

    def connect(names: dict[str, Any], limits: Limits) -> Connection:
        readers = [names["FrameReader"](limits, kind) for kind in (1, 2)]
        return Connection(readers[0], readers[1], Shifting(names["describe"], limits.open), limits)

    with pytest.raises(AssertionError):
        suite_of(connect).test_whole()
    with pytest.raises(AssertionError):
        suite_of(connect).test_gaps_at_every_position()


def test_the_suite_of_protocols_notices_bad_reading() -> None:
    """Broken: a parser that needs whole packets or hoards memory passes."""

    def with_reader(change: Any) -> ProtocolConformance:
        def connect(names: dict[str, Any], limits: Limits) -> Connection:
            changed = change(names["FrameReader"])
            made: Connection = names["connect"](limits)
            made.readers = (changed(limits, 1), changed(limits, 2))
            return made

        return suite_of(connect)

    def whole_packets(reader: Any) -> Any:
        class Impatient(reader):  # type: ignore[misc]
            def read(self) -> Message[Any] | Outcome:
                found: Message[Any] | Outcome = super().read()
                return Outcome.INVALID if found is Outcome.NEED_MORE and len(self.buffer) else found

        return Impatient

    def hoarding(reader: Any) -> Any:
        class Hoarder(reader):  # type: ignore[misc]
            def find(self, at: int) -> int:
                self.hoard = getattr(self, "hoard", b"") + self.buffer.data
                return int(super().find(at))

        return Hoarder

    for test in ("test_byte_by_byte", "test_random_pieces"):
        with pytest.raises(AssertionError):
            getattr(with_reader(whole_packets), test)()
    with pytest.raises(AssertionError):
        with_reader(hoarding).test_hostile_input_is_bounded_in_memory()


def test_the_suite_of_protocols_notices_what_fuzzing_finds() -> None:
    """Broken: an input that ends a worker is not found before it comes."""

    def connect(names: dict[str, Any], limits: Limits) -> Connection:
        made: Connection = names["connect"](limits)

        class Brittle(type(made)):  # type: ignore[misc]
            def feed(self, direction: int, data: bytes, gap: int, *times: int) -> Sequence[Exchange]:
                assert b"apples" not in data or not gap, "the straw"
                found: Sequence[Exchange] = super().feed(direction, data, gap, *times)
                return found

        made.__class__ = Brittle
        return made

    with pytest.raises(AssertionError, match="the straw"):
        suite_of(connect).test_fuzzed()
