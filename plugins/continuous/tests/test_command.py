"""`rover watch`: what it asks for, what it refuses, and what it shows."""

import json
import signal
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console
from watched_host import SECOND, Host, make_process, policy

from rover_continuous import command
from rover_continuous.triggers import sampling_of
from rover_continuous.views import LinesView, make_view, nearest, value_table
from rover_continuous.watchlist import Watchlist
from rover_core.api import ProfileCommand
from rover_core.cli.main import cli
from rover_core.errors import RoverError, UsageError
from rover_core.model import ProcessKey, Task
from rover_core.policies import Cause, Monitor, Threshold, Trigger, Uri
from rover_core.testing import this_process


def started(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    """The source that the command would run, if it came so far."""
    ran: list[Any] = []

    def run_agent(plugins: Any, settings: Any, sources: Any, duration_ns: int) -> Any:
        ran.append(sources[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run_agent", run_agent)
    monkeypatch.setattr(command, "_require", lambda *_: None)
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
        "NETWORK": (Threshold(Monitor.HTTP_AVG_RESPONSE_TIME, 200, 35, 5, (Uri(path="/a"),)),),
    }, "threads are not found out about on the network, and requests are known when they are answered"
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
        (("--http-errors", "1", "--uri", "a"), "--uri 'a' is never asked for: a path begins with /"),
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
    assert "1 of 1 s" in text
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
    task = Task("t", "NETWORK", (process.key,), settings={"sampling": sampling_of([Uri(path="/a")])})
    view.begun(Trigger(task, process, None, (Cause(Monitor.HTTP_ERROR_RATE, 1, 2, Uri(path="/a")),)), "theirs")
    value, begun = map(json.loads, capsys.readouterr().out.splitlines())
    assert (value["type"], value["value"], value["threshold"], value["seconds_over"]) == ("value", 7, 5, 1)
    assert begun["causes"] == [{"monitor": "HTTP_ERROR_RATE", "uri": "/a", "threshold": 1, "value": 2}]
    assert (begun["task"], begun["result"]) == ("theirs", "rover history -c rover.yaml show theirs")
    assert begun["samples"] == "rover trace -c rover.yaml --task theirs"
    view.begun(Trigger(replace(task, settings={}), process, None, ()), "theirs")
    assert "samples" not in json.loads(capsys.readouterr().out), "there are none"


@pytest.mark.parametrize(
    ("terminal", "as_lines", "kind"), [(True, False, "Table"), (True, True, "Lines"), (False, False, "Lines")]
)
def test_json_is_for_pipes_and_for_whoever_asks(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, as_lines: bool, kind: str
) -> None:
    """Broken: --json draws a table, or a pipe gets one."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    view = make_view("", as_lines)
    view.close()
    assert type(view).__name__ == f"{kind}View"


def test_what_could_not_be_begun_is_said_at_once() -> None:
    """Broken: without the right to profile one watches for hours, and nothing comes of it."""

    def refuse() -> None:
        raise RoverError("nothing can be profiled here")

    known = [ProfileCommand("ON_CPU", "oncpu", ""), ProfileCommand("NETWORK", "network", "", require=refuse)]
    command._require(known, ["ON_CPU"])
    with pytest.raises(RoverError, match="nothing can be profiled"):
        command._require(known, ["ON_CPU", "NETWORK"])


class Silent:
    """A view of which nothing is wanted."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def test_it_ends_when_all_have_exited_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: `rover watch --pid` goes on for ever, or ends with the first that exits."""
    ended: list[int] = []
    monkeypatch.setattr("signal.raise_signal", ended.append)
    mine, gone = this_process().key, ProcessKey(this_process().pid, 1)
    for keys, ends in (([mine, gone], False), ([gone], True), ([], False)):
        onlooker = command._Onlooker(Silent(), keys)
        onlooker.checked([])
        onlooker.checked([])
        assert ended == ([signal.SIGINT] if ends else [])
        assert onlooker.said == (["What was watched has exited."] if ends else [])
        ended.clear()


def test_a_program_that_was_not_loaded_in_time_is_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: `rover watch --http-time 1s --duration 3s` has watched nothing, and says nothing."""
    onlooker = command._Onlooker(LinesView(""), ())
    onlooker.requests("loading")
    assert ["network program was still being loaded" in line for line in onlooker.said] == [True]
    onlooker.requests("watched")
    assert onlooker.said == []
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "Loading the network program ...\nRequests are watched.\n")
