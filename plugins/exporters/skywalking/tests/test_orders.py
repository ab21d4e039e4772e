"""Commands: what is taken, and what is skipped for which reason."""

import json
from typing import Any

import pytest
from skywalking_backend import Backend

from rover_core.errors import RoverError
from rover_core.model import SamplingRule
from rover_exporter_skywalking.orders import Order, read_order
from rover_exporter_skywalking.protocol.common_pb2 import Command
from rover_exporter_skywalking.sampling import read_sampling


def command(**arguments: Any) -> Command:
    backend = Backend()
    backend.order("task", ["p1", "p2"], **arguments)
    return backend.tasks[0][2]


def test_a_command_becomes_an_order() -> None:
    """Broken: tasks run for other processes, at other times, or not at all."""
    order = read_order(command(TaskStartTime=1_700_000_000_123, TaskUpdateTime=5, FixedTriggerDuration=60))
    assert order == Order("task", ("p1", "p2"), "ON_CPU", 5, 1_700_000_000_123_000_000, 60_000_000_000)
    assert order.end_ns == 1_700_000_060_123_000_000


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"TaskId": None}, "TaskId is missing"),
        ({"ProcessId": None}, "ProcessId is missing"),
        ({"ProcessId": " , "}, "names no process"),
        ({"TaskUpdateTime": "soon"}, "TaskUpdateTime is 'soon'"),
        ({"TaskStartTime": "9" * 400}, "TaskStartTime is "),
        ({"TaskStartTime": -1}, "not between"),
        ({"FixedTriggerDuration": None}, "FixedTriggerDuration is missing"),
        ({"FixedTriggerDuration": 10**12}, "not between"),
        ({"TriggerType": "MOON"}, "TriggerType is 'MOON'"),
        ({"TargetType": "HEAP"}, "TargetType is 'HEAP'"),
        ({"TaskId": "x" * 10_000}, "TaskId has 10000 characters"),
        ({"ExtensionConfigJSON": None}, "ExtensionConfigJSON is missing"),
        ({"ExtensionConfigJSON": "{"}, "is not JSON"),
        ({"ExtensionConfigJSON": "[" * 100_000}, "is not JSON"),
        ({"ExtensionConfigJSON": "[]"}, "not a map"),
        ({"ExtensionConfigJSON": '{"NetworkSamplings": 3}'}, "NetworkSamplings is not a list"),
        ({"ExtensionConfigJSON": '{"NetworkSamplings": [3]}'}, "not a map"),
        ({"ExtensionConfigJSON": '{"NetworkSamplings": [{"URIRegex": "("}]}'}, "not a regular expression"),
        ({"ExtensionConfigJSON": '{"NetworkSamplings": [{"URIRegex": "(a)\\\\1"}]}'}, "not a regular expression"),
        ({"ExtensionConfigJSON": '{"NetworkSamplings": [{"URIRegex": 3}]}'}, "not text"),
        ({"ExtensionConfigJSON": '{"NetworkSamplings": [{"MinDuration": "1"}]}'}, "not a whole number"),
        ({"ExtensionConfigJSON": '{"NetworkSamplings": [{"When4xx": 1}]}'}, "not true or false"),
    ],
)
def test_what_cannot_be_understood_is_said(changed: Any, reason: str) -> None:
    """Broken: a backend's slip ends the agent, or is guessed at."""
    with pytest.raises((ValueError, RoverError)) as raised:
        read_order(command(**changed))
    assert reason in str(raised.value)
    assert len(str(raised.value)) < 300


def test_other_commands_are_named() -> None:
    """Broken: a backend that knows more than we do is not told apart from one that makes mistakes."""
    with pytest.raises(ValueError, match="no command 'FlyToTheMoon'"):
        read_order(Command(command="FlyToTheMoon"))


def test_the_contracts_example_of_sampling() -> None:
    """Broken: a NETWORK task samples the wrong requests, or attaches what nobody asked for."""
    example = (
        '{"NetworkSamplings":[{"URIRegex":"/api/.*","MinDuration":500,"When4xx":true,"When5xx":true,"Settings":'
        '{"RequireCompleteRequest":true,"MaxRequestSize":1024,"RequireCompleteResponse":true}}]}'
    )
    assert read_sampling(example) == (SamplingRule("/api/.*", 500_000_000, True, True, True, 1024, True, None),)


@pytest.mark.parametrize("text", ["null", "{}", '{"NetworkSamplings": null}', '{"NetworkSamplings": []}'])
def test_no_extension_is_no_rule(text: str) -> None:
    """Broken: ON_CPU tasks, whose extension is the text null, are refused."""
    assert read_sampling(text) == ()


def test_members_that_are_absent_or_null_have_their_meaning() -> None:
    """Broken: a rule without a path matches nothing, or a size of 0 cuts everything away."""
    rule = {"URIRegex": None, "MinDuration": None, "Settings": {"MaxRequestSize": 0, "MaxResponseSize": -1}}
    assert read_sampling(json.dumps({"NetworkSamplings": [rule]})) == (SamplingRule(),)


def test_an_expression_that_explodes_elsewhere_costs_nothing_here() -> None:
    """Broken: `(a+)+$` over a path of a few dozen characters stops the agent for ever."""
    from rover_core.patterns import compile_pattern

    (rule,) = read_sampling('{"NetworkSamplings": [{"URIRegex": "(a+)+$"}]}')
    assert not compile_pattern(rule.uri_regex or "", "URIRegex").matches("a" * 100_000 + "!")
