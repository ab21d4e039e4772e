"""A worker: reads one ring (or a recording of one), parses what strangers sent, and tells the agent sums.

Forked by nursery.py. Before it reads the first byte it gives up every privilege; the agent takes nothing from it but
JSON, whose shape it checks.
"""

import importlib
import json
import os
import select
import socket
import struct
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Any

from rover_core.wire import Limits, Redaction
from rover_network.confinement import confine
from rover_network.details import CallBook
from rover_network.feeds import Source, Tee, open_source
from rover_network.intervals import Interval
from rover_network.sampling import Sampler, prepare
from rover_network.streams import Place, Spoken, Streams, feed_all

LENGTH = struct.Struct("<I")
"""In front of each message to the agent."""
REPORT, TASKS, NAMES, WATCHES = b"r", b"t", b"n", b"w"
"""The agent's words. Behind the second, as a message: [id, rules, pids] of each task that samples; behind the third
[number, class, name] of operations that the kernel tells apart; behind the fourth [what is watched (`watching`),
whether nothing else is wanted]."""
_MEMORY = 512 << 20
_BUSY_MS = 3  # between looks at the ring while there is something in it,
_MANY = 200  # unless there were so many records
_NICE = -5


def learn(protocols: Sequence[dict[str, Any] | None]) -> list[Spoken | None]:
    """Import whatever it takes to read them (`workers.describe`), by their numbers."""
    prepare()
    return [None if protocol is None else _spoken(protocol) for protocol in protocols]


def name_process(name: str) -> None:
    """As others see it."""
    with open("/proc/self/comm", "w") as comm:
        comm.write(name)


def work(order: dict[str, Any], spoken: Sequence[Spoken | None]) -> None:
    """Until the agent closes its end. order: what `Workers` says of all, and of this one."""
    channel = socket.socket(fileno=order["channel"])
    source = open_source(order)
    tee = Tee(order["recording"], order["number"]) if "recording" in order else None
    sampling = order["sampling"]
    redaction = Redaction(sampling["headers"], sampling["parameters"])
    calls = CallBook()
    encodings = tuple(sampling["encodings"])
    sampler: Sampler[Place] = Sampler(redaction, encodings, sampling.get("offset_ns"), calls.of)
    streams = Streams(spoken, Interval(order["queue_size"]), sampler, now_ns=source.now_ns, calls=calls)
    if source.given_up:
        source.given_up = streams.expire
    name_process("rover-worker")
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # it was the agent's, which may be a terminal
    _go_first()
    confine(_MEMORY)
    _send(channel, {"pid": os.getpid()})
    try:
        _work(channel, source, tee, streams)
    except Exception as error:  # noqa: BLE001 - its last word
        # Where, not what it says: that might be a message's.
        place = traceback.extract_tb(error.__traceback__)[-1]
        _send(channel, {"failed": f"{type(error).__name__} in {place.name}, line {place.lineno}"})


def _go_first() -> None:
    """A ring holds some 20 ms of a busy host's records: who reads it must not wait for the turns of others, several
    of which may take as long. Without CAP_SYS_NICE it waits like everybody, and so it does for another session's or
    control group's turn.
    """
    with suppress(OSError):
        os.nice(_NICE)


def _spoken(protocol: dict[str, Any]) -> Spoken:
    connect, datagrams = _find(protocol["connect"]), protocol["datagrams"] and _find(protocol["datagrams"])
    for make in filter(None, (connect, datagrams)):
        make(Limits()).close()  # what it imports later, it imports now
    metrics = {name: _find(place) for name, place in protocol["metrics"].items()}
    render = _find(protocol["render"]) if protocol["render"] else None
    request, response = map(_find, protocol["fast"]) if protocol["fast"] else (None, None)
    return Spoken(
        connect,
        datagrams,
        metrics,
        protocol["label"],
        _find(protocol["trace"]),
        _find(protocol["subject"]),
        _find(protocol["reason"]),
        render,
        request,
        response,
        tuple(protocol["continues"]),
    )


def _find(place: str) -> Any:
    """`package.module:function`"""
    module, _, name = place.partition(":")
    return attrgetter(name)(importlib.import_module(module))


def _work(channel: socket.socket, source: Source, tee: Tee | None, streams: Streams) -> None:
    waiting = select.poll()
    waiting.register(channel, select.POLLIN)
    waiting.register(source.fd, select.POLLIN)
    asked = select.poll()
    asked.register(channel, select.POLLIN)
    count = 0
    while True:
        if not count:
            waiting.poll()
        # A ring that holds anything is readable at once, so while there is something only time makes a batch.
        ready = asked.poll(0 if count > _MANY else _BUSY_MS)
        began_ns = time.thread_time_ns()
        count = feed_all(streams, tee.through(source.drain()) if tee else source.drain())
        if count:
            streams.steps["records read"] = streams.steps.get("records read", 0) + count
            streams.steps["worker ns"] = streams.steps.get("worker ns", 0) + time.thread_time_ns() - began_ns
        if any(fd == channel.fileno() for fd, _ in ready):
            word = channel.recv(1)
            if not word:
                return  # the agent is gone
            if word == TASKS:
                streams.assign(_receive(channel))
            elif word == NAMES:
                streams.know(_receive(channel))
            elif word == WATCHES:
                streams.watch(*_receive(channel))
            else:
                if tee:
                    tee.mark()
                _send(channel, streams.report(expire=source.given_up is None))


def _receive(channel: socket.socket) -> Any:
    (length,) = LENGTH.unpack(channel.recv(LENGTH.size, socket.MSG_WAITALL))
    return json.loads(channel.recv(length, socket.MSG_WAITALL))


def _send(channel: socket.socket, message: dict[str, Any]) -> None:
    body = json.dumps(message, separators=(",", ":")).encode()
    channel.sendall(LENGTH.pack(len(body)) + body)
