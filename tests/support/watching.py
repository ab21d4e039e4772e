"""`rover profile network` while something happens, and a proxy that speaks TLS."""

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from end_to_end import ENVIRONMENT, ROVER, until
from nginx import free_port


class Watching:
    """The agent while the block runs; `records` is what it said then. Without pids it watches the whole host.

    buffer: of each worker; more than the default for loads that are meant to be seen whole.
    """

    def __init__(self, folder: Path, protocol: str, pids: Sequence[int] = (), buffer: str = "400KB") -> None:
        self._output, self._errors, self._protocol = folder / "out", folder / "errors", protocol
        settings = folder / "rover.yaml"
        analyze = f"{{protocols: [{protocol}], per_cpu_buffer: {buffer}}}"
        settings.write_text(f"profiling: {{task: {{network: {{protocol_analyze: {analyze}}}}}}}\n")
        self._command = [str(ROVER), "profile", "network", "--duration", "0", "--log-level", "info"]
        self._command += ["--config", str(settings)]
        self._command += [word for pid in pids for word in ("--pid", str(pid))] or ["--all"]
        self.records: list[dict[str, Any]] = []

    def __enter__(self) -> "Watching":
        with self._output.open("w") as output, self._errors.open("w") as errors:
            self._rover = subprocess.Popen(
                self._command, stdout=output, stderr=errors, env=ENVIRONMENT, process_group=0
            )
        try:
            until(lambda: "task started" in self._errors.read_text(), within_s=60)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(2)
        self._end()
        self.records = [json.loads(line) for line in self._output.read_text().splitlines()]

    def _end(self) -> None:
        self._rover.send_signal(signal.SIGINT)
        self._rover.wait(60)

    def operations(self, **which: object) -> list[dict[str, Any]]:
        """Of the protocol, where each named field is so; `peer` is the other end's pid."""
        return [
            each
            for each in self.records
            if each["type"] == "operation" and each["protocol"] == self._protocol and _fits(each, which)
        ]

    def counted(self, **which: object) -> "Counter[tuple[str, str]]":
        """(operation, status) of each exchange."""
        counts: Counter[tuple[str, str]] = Counter()
        for each in self.operations(**which):
            counts.update({(each["operation"], status): count for status, count in each["statuses"].items()})
        return counts

    def errors(self, **which: object) -> int:
        return sum(each["errors"] for each in self.operations(**which))


def _fits(record: dict[str, Any], which: dict[str, object]) -> bool:
    told = record | {"peer": record["peer"].get("pid")}
    return all(told[name] == value for name, value in which.items())


@contextmanager
def tls_in_front(folder: Path, port: int, at: int | None = None) -> Iterator[int]:
    """The port of a proxy with OpenSSL, one process for each connection, that passes on to a plain one.

    folder: with a certificate (`https.make_certificate`).
    """
    at = at or free_port()
    listen = f"OPENSSL-LISTEN:{at},bind=127.0.0.1,reuseaddr,fork,verify=0,cert={folder}/certificate,key={folder}/key"
    proxy = subprocess.Popen(["socat", listen, f"TCP:127.0.0.1:{port}"], stderr=subprocess.DEVNULL)
    try:
        until(lambda: f"127.0.0.1:{at}" in _listening())
        yield at
    finally:
        proxy.terminate()
        proxy.wait(30)


def _listening() -> str:
    return subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True).stdout
