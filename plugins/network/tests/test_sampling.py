"""What is sampled: rules, reasons, and the slowest of each."""

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rover_core.api import WireProtocol
from rover_core.errors import UsageError
from rover_core.model import (
    Entity,
    FlowKey,
    Peer,
    ProcessKey,
    Sample,
    SampledMessage,
    SamplingRule,
    Syscall,
    Task,
    TraceContext,
)
from rover_core.testing import make_sampled
from rover_core.wire import Capture, CaptureMode, Exchange, Message, Rendering
from rover_core.wire.http import status_reason
from rover_network.rulebook import RuleBook, content_size
from rover_network.rules import parse_rules, rules_of
from rover_network.samples import entity_pairs, slowest
from rover_network.samplewords import rules_read, rules_told, samples_read, samples_told
from rover_network.sampling import TOP, Sampler, Source, Taken

MINE, THEIRS = ProcessKey(10, 1), ProcessKey(20, 2)
MS = 1_000_000
TRACE = TraceContext("zipkin", "abc", "", "def")
RULE = SamplingRule(min_duration_ns=200 * MS, when_5xx=True, attach_request=True, max_request_size=10)


def protocol(**fields: Any) -> WireProtocol:
    """One whose messages' details are (path, trace context)."""

    def connect(_: Any) -> Any:
        raise AssertionError("nothing is parsed here")

    given: dict[str, Any] = {
        "trace": lambda exchange: exchange.request.detail[1],
        "subject": lambda exchange: exchange.request.detail[0],
        "reason": status_reason,
        "render": lambda message, rendering: f"{message.detail[0]}"[: rendering.most],
        **fields,
    }
    return WireProtocol("fake", "http", Path(), Capture(CaptureMode.ALL), connect, **given)


HTTP = protocol()
SQL = protocol(reason=lambda _: "", trace=lambda _: None)


def exchange(
    ms: int, status: str = "200", path: str = "/a", trace: TraceContext | None = TRACE, at: int = 0
) -> Exchange:
    request = Message(at, at, 100, True, (path, trace), b"x" * 100)
    response = Message(at + ms * MS, at + ms * MS, 100, True, (path, trace), b"y" * 100)
    return Exchange("GET", "GET /{}", status, status >= "5", request, response)


def taken(
    *exchanges: Exchange, rules: Sequence[SamplingRule] = (RULE,), protocol: WireProtocol = HTTP
) -> list[Taken[str]]:
    sampler: Sampler[str] = Sampler(offset_ns=0)
    sampler.assign("task", rules, [MINE.pid])
    for each in exchanges:
        sampler.offer(each, Source(MINE.pid, "flow", protocol))
    return sampler.take()


@pytest.mark.parametrize(
    ("ms", "status", "reason"),
    [
        (199, "200", None),
        (200, "200", "slow"),
        (200, "404", "slow"),
        (1, "404", None),
        (1, "500", "status_5xx"),
        (999, "503", "status_5xx"),
    ],
)
def test_reasons(ms: int, status: str, reason: str | None) -> None:
    """Broken: the slow are not those of at least that duration, or a slow failure is not the failure."""
    found = [each.exchange.reason for each in taken(exchange(ms, status))]
    assert found == ([reason] if reason else [])


def test_the_slowest_stay_whatever_their_order() -> None:
    """Broken: of a thousand slow ones the ten that are told are not the slowest."""
    durations = random.Random(7).sample(range(200, 5000), 400)
    found = taken(*map(exchange, durations), *(exchange(ms, trace=None) for ms in durations))
    for traced in (True, False):
        mine = [each.exchange for each in found if (each.exchange.trace is not None) is traced]
        assert [each.duration_ns // MS for each in mine] == sorted(durations, reverse=True)[:TOP]
    assert [each.exchange.duration_ns for each in found] == sorted(
        (each.exchange.duration_ns for each in found), reverse=True
    )


def test_each_flow_and_each_reason_has_places_of_its_own() -> None:
    """Broken: one peer's many slow ones hide another's, or all failures."""
    sampler: Sampler[str] = Sampler(offset_ns=0)
    sampler.assign("task", [RULE])
    for flow in ("a", "b"):
        for ms in range(300, 330):
            sampler.offer(exchange(ms), Source(MINE.pid, flow, HTTP))
            sampler.offer(exchange(1, "500"), Source(MINE.pid, flow, HTTP))
    found = [(each.flow, each.exchange.reason) for each in sampler.take()]
    assert {key: found.count(key) for key in found} == {
        (flow, reason): TOP for flow in "ab" for reason in ("slow", "status_5xx")
    }
    assert sampler.take() == []


def test_every_protocol_has_errors() -> None:
    """Broken: sampling is HTTP's alone."""
    rules = [SamplingRule(when_error=True, min_duration_ns=300 * MS)]
    found = taken(exchange(1, "9"), exchange(300, "1"), exchange(1, "1"), rules=rules, protocol=SQL)
    assert [each.exchange.reason for each in found] == ["slow", "error"]
    assert [each.exchange.reason for each in taken(exchange(1, "500"), rules=rules)] == ["status_5xx"]


def test_rules_are_the_tasks_own_and_go_with_it() -> None:
    """Broken: rules accumulate, one task's hold for another's processes, or old ones for a known path."""
    sampler: Sampler[str] = Sampler(offset_ns=0)
    sampler.assign("slow", [RULE], [MINE.pid])
    sampler.assign("failed", [SamplingRule(when_4xx=True)], [THEIRS.pid])

    def tasks() -> list[str]:
        for process in (MINE, THEIRS):
            for each in (exchange(300), exchange(1, "404")):
                sampler.offer(each, Source(process.pid, "flow", HTTP))
        return sorted(each.task_id for each in sampler.take())

    assert tasks() == ["failed", "slow"]
    sampler.assign("slow", [SamplingRule(uri_regex="/b", when_4xx=True)], [MINE.pid])
    assert tasks() == ["failed"]
    sampler.assign("slow", [SamplingRule(uri_regex="/a", when_4xx=True)], None)
    assert tasks() == ["failed", "slow", "slow"]
    sampler.remove("failed")
    assert tasks() == ["slow", "slow"]
    sampler.remove("slow")
    assert tasks() == []


def test_rules_by_path() -> None:
    """Broken: the rule for all others holds where a path has its own, or of several that match not the last does."""
    rest, slow = SamplingRule(when_5xx=True), SamplingRule(min_duration_ns=1)
    orders, all_of_them = (
        SamplingRule(uri_regex="^/orders", when_4xx=True),
        SamplingRule(uri_regex="/", when_error=True),
    )
    book = RuleBook([rest, orders, slow])
    assert list(book.applying("/orders/7")) == [orders]
    assert list(book.applying("/users")) == [rest, slow]
    assert list(RuleBook([orders, all_of_them]).applying("/orders")) == [all_of_them]
    assert not RuleBook([orders]).applying("/users")
    book = RuleBook([all_of_them, orders])
    assert [list(book.applying("/orders")) for _ in range(2)] == [[orders], [orders]], (
        "the second time it is remembered"
    )
    with pytest.raises(UsageError):
        RuleBook([SamplingRule(uri_regex="(")])


def test_what_is_remembered_of_paths_is_bounded() -> None:
    """Broken: a client that asks for ever new paths fills a worker's memory."""
    book = RuleBook([SamplingRule(uri_regex="7$", when_5xx=True)])
    for number in range(5000):
        book.applying(f"/{number}")
        book.applying("/" + "x" * 2000 + str(number))
    assert len(book._applying) <= 1024
    assert max(map(len, book._applying)) <= 1024


def test_messages_are_attached_as_far_as_a_rule_wants_them() -> None:
    """Broken: whole messages leave although nobody asked for them, or those of another rule that did not match."""
    wide = SamplingRule(uri_regex="/a", min_duration_ns=500 * MS, attach_response=True, max_response_size=3)
    assert taken(exchange(300, path="/abcdefghijkl"), rules=[SamplingRule(min_duration_ns=0), wide, RULE]) == []
    (found,) = taken(exchange(300), rules=[SamplingRule(min_duration_ns=0)])
    assert (found.exchange.request, found.exchange.response) == (None, None)
    (found,) = taken(exchange(300, path="/bbcdefghijkl"), rules=[wide, RULE])
    assert found.exchange.request
    assert found.exchange.request.text == "/bbcdefghi"
    assert found.exchange.response is None
    assert content_size([RULE, wide]) == 10
    assert content_size([SamplingRule(attach_request=True)]) == 1 << 18
    assert content_size([SamplingRule(min_duration_ns=1)]) == 0


def test_times_are_the_wall_clocks() -> None:
    """Broken: events lie in 1970."""
    sampler: Sampler[str] = Sampler(offset_ns=10**18)
    sampler.assign("task", [RULE])
    sampler.offer(exchange(300, at=5), Source(MINE.pid, "flow", HTTP))
    (found,) = sampler.take()
    assert (found.exchange.start_ns, found.exchange.end_ns) == (10**18 + 5, 10**18 + 5 + 300 * MS)
    assert found.exchange.request
    assert found.exchange.request.start_ns == 10**18 + 5


def test_halves_are_not_sampled() -> None:
    """Broken: an exchange without a response is told as one without a status."""
    rules = [SamplingRule(min_duration_ns=0, when_error=True)]
    whole = exchange(1, "500")
    assert taken(whole._replace(request=None), whole._replace(response=None, status=""), rules=rules) == []


def test_an_interval_is_bounded() -> None:
    """Broken: many peers, or large messages, fill a worker's memory; or nobody learns what was left out."""
    sampler: Sampler[int] = Sampler(offset_ns=0)
    sampler.assign("task", [RULE])
    slow = exchange(300)
    for flow in range(6000):
        sampler.offer(slow, Source(MINE.pid, flow, HTTP))
    assert (len(sampler.take()), sampler.left_out) == (4096, 1904)
    large = slow._replace(request=slow.request._replace(content=bytes(1 << 20)))  # type: ignore[union-attr]
    for flow in range(100):
        sampler.offer(large, Source(MINE.pid, flow, HTTP))
    assert len(sampler.take()) < 33
    told = protocol(render=lambda message, rendering: "x" * (1 << 20))
    for flow in range(20):
        sampler.offer(slow, Source(MINE.pid, flow, told))
    assert sum(each.exchange.request is not None for each in sampler.take()) <= 8


def test_a_protocol_that_fails_at_a_message_costs_its_text_alone() -> None:
    """Broken: one message that a protocol stumbles over ends a worker, or is not counted."""

    def render(message: Message[Any], rendering: Rendering) -> str:
        raise ValueError("s3cret")

    sampler: Sampler[str] = Sampler()
    sampler.assign("task", [RULE])
    sampler.offer(exchange(300), Source(MINE.pid, "flow", protocol(render=render)))
    (found,) = sampler.take()
    assert found.exchange.request
    assert (found.exchange.request.text, sampler.unrendered) == ("", 1)
    (found,) = taken(exchange(300), protocol=protocol(render=None))
    assert found.exchange.request is None


def test_rules_as_people_write_them() -> None:
    """Broken: `--sample` does not mean what its help says."""
    first, second = parse_rules("slow>200ms, 5xx,max=64KB; error,uri~^/a{2,3}")
    assert (first.min_duration_ns, first.when_5xx, first.when_4xx, first.uri_regex) == (200 * MS, True, False, None)
    assert (first.attach_request, first.max_response_size) == (True, 65536)
    assert (second.when_error, second.uri_regex, second.max_request_size) == (True, "^/a{2,3}", 16384)
    (bare,) = parse_rules("4xx,max=0")
    assert (bare.attach_request, bare.attach_response, bare.when_4xx) == (False, False, True)


@pytest.mark.parametrize("text", ["", ";", "slow", "slow>", "slow>5", "6xx", "max=4KB", "uri~/a", "5xx,uri~("])
def test_nonsense_is_named(text: str) -> None:
    """Broken: a rule that is misspelt samples nothing, and nobody is told."""
    with pytest.raises((ValueError, UsageError)):
        parse_rules(text)


def test_whose_rules_a_task_has() -> None:
    """Broken: a backend's or a command line's rules are not heeded, or the configuration's win over them."""
    mine = (RULE,)
    assert rules_of(Task("t", "NETWORK", settings={"sampling": mine}), "5xx") == mine
    assert rules_of(Task("t", "NETWORK", settings={"sample": mine}), "5xx") == mine
    assert rules_of(Task("t", "NETWORK"), "5xx") == parse_rules("5xx")
    assert rules_of(Task("t", "NETWORK"), " ") == ()


def test_workers_samples_are_put_together() -> None:
    """Broken: with two workers there are twenty of each, or the ten are not the slowest."""
    samples = [make_sampled(duration_ns=ms * MS) for ms in range(300, 330)]
    random.Random(3).shuffle(samples)
    found = slowest([*samples, make_sampled(reason="status_5xx", duration_ns=1)])
    assert [each.exchange.duration_ns // MS for each in found] == [*range(329, 319, -1), 0]


def test_ends_are_named_as_in_meters() -> None:
    """Broken: a log names another process than the meters of the same traffic."""
    shop, stock = Entity("OS_LINUX", "shop", "pod", "shop"), Entity("OS_LINUX", "shop", "pod", "stock")
    bank = Entity("OS_LINUX", "bank", "pod", "bank")
    entities = {MINE: (shop, bank), THEIRS: (stock,)}
    flow = FlowKey(MINE, "shop", "client", "tcp", Peer(THEIRS, "stock", local=True))
    sample = Sample(flow, "", make_sampled().exchange)
    assert entity_pairs(sample, lambda process: entities[process]) == ((shop, stock), (bank, None))


def test_agent_and_worker_understand_each_other() -> None:
    """Broken: what a worker sampled arrives as something else, or its rules do."""
    rules = parse_rules("slow>1ms,4xx,uri~^/a; error")
    assert tuple(rules_read(json.loads(json.dumps(rules_told(rules))))) == rules
    calls = (Syscall("Write", 5, 10**18 + 7, 3, 1536, "eth0", 2, 40),)
    request = SampledMessage(1, 2, 3, "text", calls)
    for sampled in (
        make_sampled(request=request).exchange,
        make_sampled(trace=None, request=None, ssl=True).exchange,
    ):
        said = [Taken("task", (1, 2, 3), sampled)]
        assert samples_read(json.loads(json.dumps(samples_told(said)))) == said


@pytest.mark.parametrize(
    "change",
    [
        {"reason": "because"},
        {"start_ns": -1},
        {"duration_ns": 1 << 64},
        {"duration_ns": "1"},
        {"subject": 7},
        {"subject": "x" * (1 << 20)},
        {"trace": ["skywalking", "a"]},
        {"trace": ["mine", "a", "b", "c"]},
        {"request": {}},
        {"request": {"start_ns": 1, "end_ns": 1, "size": 1, "text": "x" * (1 << 22)}},
        {"response": []},
        {"request": {"start_ns": 1, "end_ns": 1, "size": 1, "text": "", "syscalls": [{"function": "a", "x": 1}]}},
    ],
)
def test_what_no_worker_says_is_refused(change: dict[str, Any]) -> None:
    """Broken: a worker that a stranger's bytes have taken over reaches the agent."""
    ((task, flow, record),) = json.loads(json.dumps(samples_told([Taken("task", (1,), make_sampled().exchange)])))
    with pytest.raises(ValueError, match=r"."):
        samples_read([[task, flow, {**record, **change}]])
    for nonsense in (None, 7, [[]], [[task, "ab", record]], [[task, flow, None]], [[7, flow, record]]):
        with pytest.raises(ValueError, match=r"."):
            samples_read(nonsense)


def test_a_worker_needs_nothing_of_the_agent() -> None:
    """Broken: each worker has pydantic in memory, or loads a file when it may not any more."""
    program = """
import sys
from rover_network import rulebook, samplewords, sampling
from rover_core.wire import rendering
sampling.prepare()
before = set(sys.modules)
assert not before & {"pydantic", "pluggy", "structlog", "numpy", "click", "rover_core.api"}, before
for name in rendering._KNOWN:
    assert rendering.encoding_of(name) == name
    "a".encode(name).decode(name)
sampler = sampling.Sampler()
sampler.assign("task", samplewords.rules_read([{"uri_regex": "a.*b", "when_5xx": True}]))
assert set(sys.modules) == before, set(sys.modules) - before
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
