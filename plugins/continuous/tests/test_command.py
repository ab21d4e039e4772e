"""`rover watch`: what it asks for, what it refuses, and what it shows."""

import json
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console
from watched_host import SECOND, Host, make_process, policy

from rover_continuous import command
from rover_continuous.views import LinesView, nearest, value_table
from rover_continuous.watchlist import Watchlist
from rover_core.cli.main import cli
from rover_core.errors import UsageError
from rover_core.model import Task
from rover_core.policies import Cause, Monitor, Threshold, Trigger, Uri
from rover_core.testing import this_process


def started(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    """The source that the command would run, if it came so far."""
    ran: list[Any] = []

    def run_agent(plugins: Any, settings: Any, sources: Any, duration_ns: int) -> Any:
        ran.append(sources[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run_agent", run_agent)
    result = CliRunner().invoke(cli, ["watch", *arguments], catch_exceptions=True)
    if not ran:
        assert isinstance(result.exception, UsageError), result.output
        raise result.exception
    return ran[0]


def test_the_options_make_a_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: another threshold, period, profiler or process is watched than was asked for."""
    mine = this_process()
    source = started(
        monkeypatch, "--http-time", "200ms", "--threads", "9", "--for", "5", "--uri", "/a", "--pid", str(mine.pid)
    )
    (policy,) = source._policies
    assert policy.thresholds == {
        "ON_CPU": (Threshold(Monitor.PROCESS_THREAD_COUNT, 9, 5, 5, (Uri(path="/a"),)),),
        "NETWORK": (Threshold(Monitor.HTTP_AVG_RESPONSE_TIME, 200, 5, 5, (Uri(path="/a"),)),),
    }, "threads are not found out about on the network"
    assert source._trigger.execute_duration == 30 * SECOND
    assert source._trigger.silence_duration == 1200 * SECOND
    assert source._settings.check_interval == source._settings.fetch_interval, "values are live"
    assert not policy.selects(mine), "never itself"
    assert not policy.selects(make_process(1))


def test_processes_are_those_that_match(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: the whole host is watched, or nothing."""
    (by_name,) = started(
        monkeypatch, "--cpu", "80", "--match", "^sho", "--then", "offcpu", "--then", "oncpu"
    )._policies
    assert list(by_name.thresholds) == ["OFF_CPU", "ON_CPU"]
    assert by_name.thresholds["OFF_CPU"] == by_name.thresholds["ON_CPU"]
    assert by_name.selects(make_process(1, "shop"))
    assert not by_name.selects(make_process(1, "cart"))
    (of_all,) = started(monkeypatch, "--load", "4")._policies
    assert of_all.selects(make_process(1, "cart"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "there is nothing to watch for"),
        (("--cpu", "1", "--uri", "/a"), "--uri is about requests"),
        (("--http-errors", "1", "--uri", "/a", "--uri-regex", "b"), "contradicts"),
        (("--http-errors", "1", "--uri-regex", "("), "--uri-regex"),
        (("--cpu", "1", "--match", "("), "--match"),
        (("--cpu", "1", "--for", "100ms"), "--for is at least a second"),
        (("--cpu", "1", "--for", "2d"), "between 1 and 3600"),
        (("--cpu", "nan"), "nan"),
        (("--cpu", "180"), "100 is all processors"),
        (("--http-errors", "101"), "--http-errors 101 is never reached"),
        (("--cpu", "1", "--then", "heap"), "there is no profiler 'heap'"),
        (("--cpu", "1", "--pid", "999999999"), "there is no process 999999999"),
    ],
)
def test_what_makes_no_sense_is_refused(monkeypatch: pytest.MonkeyPatch, arguments: Any, says: str) -> None:
    """Broken: a mistake is found out by waiting for a trigger that never comes."""
    with pytest.raises(UsageError) as caught:
        started(monkeypatch, *arguments)
    assert says in str(caught.value)


def test_the_nearest_to_their_thresholds_are_shown(host: Host, watchlist: Watchlist) -> None:
    """Broken: of many processes those are shown that nobody needs to look at, or names act on the terminal."""
    processes = [make_process(host.set(pid, threads=pid), service=f"s\x1b[31m{pid}") for pid in range(1, 60)]
    watchlist.update([policy("ON_CPU", Monitor.PROCESS_THREAD_COUNT, 50, 2, 1, selects=lambda _: True)], processes)
    watchlist.fetch(100 * SECOND)
    looks = list(watchlist.looks(100 * SECOND))
    assert [look.newest for look in nearest(looks, 3)] == [59, 58, 57]
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(value_table(looks, 5))
    console.file.close()
    text = console.export_text()
    assert "59 threads" in text
    assert "1 of 2 s" in text
    assert "54 more" in text
    assert "\x1b" not in text
    assert value_table([]).caption == "no such process so far"


def test_lines_are_json(host: Host, watchlist: Watchlist, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a script cannot read what is seen, or find the result."""
    process = make_process(host.set(1, threads=7))
    watchlist.update([policy("ON_CPU", Monitor.PROCESS_THREAD_COUNT, 5, 2, 1)], [process])
    watchlist.fetch(100 * SECOND)
    view = LinesView(" -c rover.yaml")
    view.checked(list(watchlist.looks(100 * SECOND)))
    task = Task("t", "NETWORK", (process.key,))
    view.begun(Trigger(task, process, None, (Cause(Monitor.HTTP_ERROR_RATE, 1, 2, Uri(path="/a")),)), "theirs")
    value, begun = map(json.loads, capsys.readouterr().out.splitlines())
    assert (value["type"], value["value"], value["threshold"], value["seconds_over"]) == ("value", 7, 5, 1)
    assert begun["causes"] == [{"monitor": "HTTP_ERROR_RATE", "uri": "/a", "threshold": 1, "value": 2}]
    assert (begun["task"], begun["result"]) == ("theirs", "rover history -c rover.yaml show theirs")
