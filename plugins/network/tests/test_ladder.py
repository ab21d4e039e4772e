"""The steps that `rover doctor --network` shows: in order, what is wrong with them, and on the real kernel."""

from dataclasses import replace
from pathlib import Path

import pytest

from rover_core.api import Diagnostic, Health
from rover_core.model import Completeness, Loss
from rover_http1.plugin import rover_protocols
from rover_network.climbing import climb
from rover_network.ladder import broken, in_order, lost
from rover_network.profiler import create
from rover_network.settings import NetworkSettings

SEEN = {"calls seen": 9, "calls shown to classifiers": 9, "connections recognised": 1, "calls captured": 4}
READ = {"records read": 4, "messages parsed": 4, "exchanges paired": 2, "exchanges": 2, "exchanges exported": 2}


def wrong(steps: dict[str, int]) -> list[str]:
    return [step for step, _, why in broken(steps) if why]


def test_steps_go_from_the_call_to_the_exchange() -> None:
    """Broken: a person who walks the ladder meets its rungs in any order, or misses one that a protocol adds."""
    steps = dict(reversed((SEEN | READ | {"of a plugin": 1}).items()))
    assert list(in_order(steps)) == [*SEEN, *READ, "of a plugin"]


def test_the_rung_that_is_missing_is_named_and_no_other() -> None:
    """Broken: a host where nothing is read looks fine, or everything behind the fault is blamed too."""
    assert wrong(SEEN | READ) == []
    assert wrong(dict.fromkeys(SEEN | READ, 0)) == []  # nothing was sent
    assert wrong(SEEN | dict.fromkeys(READ, 0)) == ["records read"]
    nobody = {"connections recognised": 0, "calls captured": 0}
    assert wrong(SEEN | nobody | dict.fromkeys(READ, 0)) == ["connections recognised"]
    assert wrong(SEEN | READ | {"exchanges exported": 0}) == ["exchanges exported"]
    assert wrong(SEEN | READ | {"parser failed": 1, "workers replaced": 0}) == ["parser failed"]


def test_each_loss_says_what_to_do() -> None:
    """Broken: a person is told that something is lost, and not what to do about it."""
    losses = {Loss.RING_FULL: 5, Loss.WORKER_ENDED: 1, Loss.MAP_FULL: 1, Loss.QUEUE_FULL: 1, Loss.PROCESS_GONE: 1}
    told = {cause: (count, what) for cause, count, what in lost(Completeness(9, 0, losses, {Loss.UNPAIRED: 2}))}
    assert told["ring full"][0] == 5
    assert "per_cpu_buffer" in told["ring full"][1]
    assert all("docs/debugging.md" in what and len(what) > 40 for _, what in told.values())
    assert len(told) == 6


def found(diagnostics: list[Diagnostic]) -> dict[str, Diagnostic]:
    return {each.name.removeprefix("network: "): each for each in diagnostics}


@pytest.mark.kernel
def test_its_own_requests_reach_the_top() -> None:
    """Broken: a host where all is well fails the check, or the check asks nothing."""
    lines = found(list(climb(create(NetworkSettings(), protocols=rover_protocols), ["http1"], 1)))  # type: ignore[arg-type]
    for role in ("client", "server"):
        line = lines[f"own requests, as {role}"]
        assert (line.health, line.detail) == (Health.OK, "10 of 10 seen and paired")
    for step in ("exchanges paired", "exchanges exported"):
        assert int(lines[step].detail.replace(",", "")) >= 20


@pytest.mark.kernel
def test_a_classifier_that_knows_nothing_is_found_out(tmp_path: Path) -> None:
    """Broken: requests that are lost at a step are not, or the step is not the one that loses them."""
    (protocol,) = rover_protocols()
    header = tmp_path / "blind.h"
    header.write_text("static int http1_classify(const unsigned char *head, unsigned int size) { return 0; }\n")
    blind = create(NetworkSettings(), protocols=lambda: [replace(protocol, classifier=header)])
    lines = found(list(climb(blind, ["http1"], 0.5)))
    assert lines["own requests, as client"].health is Health.PROBLEM
    assert lines["own requests, as client"].detail == "0 of 10 seen and paired"
    assert lines["calls shown to classifiers"].health is Health.OK
    assert lines["connections recognised"].health is Health.WARNING
    assert lines["messages parsed"].health is Health.OK
