"""The fakes that plugin authors test with keep to the interfaces they stand in for."""

from pathlib import Path

import pytest

from rover_core.api import AgentContext, Discoverer, Exporter, Profiler
from rover_core.model import Task
from rover_core.testing import (
    ExporterConformance,
    FakeContext,
    FakeDiscoverer,
    FakeExporter,
    FakeProfiler,
    ProfilerConformance,
    this_process,
)


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
