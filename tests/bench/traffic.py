"""A load of network traffic: `python traffic.py KIND MILLISECONDS`. Server and client have a processor each.

Prints what was done, the wall clock and the server's CPU time in nanoseconds, and the median and the 99th percentile
of the latency in microseconds.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PORT = 18431
NGINX = """
daemon off; master_process off; worker_cpu_affinity 01; pid {0}/pid; error_log {0}/errors;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 100000000; open_file_cache max=10;
    client_body_temp_path {0}/1; proxy_temp_path {0}/2; fastcgi_temp_path {0}/3;
    uwsgi_temp_path {0}/4; scgi_temp_path {0}/5;
    server {{ listen 127.0.0.1:{1}; root {0}; }} }}
"""
AT_A_RATE = "function delay() return 10 end\n"  # milliseconds: 50 connections make nearly 5 000 requests a second
_UNITS = {"us": 1.0, "ms": 1000.0, "s": 1_000_000.0}
_WITH_US = ("setpriv", "--pdeathsig", "KILL")  # however this ends, nothing that it started is left
Done = tuple[int, float, float]


@contextmanager
def server(command: Sequence[str]) -> Iterator[int]:
    with subprocess.Popen([*_WITH_US, "taskset", "-c", "0", *command], stdout=subprocess.DEVNULL) as running:
        time.sleep(0.5)
        try:
            yield running.pid
        finally:
            running.terminate()


def cpu_ns(pid: int) -> int:
    """Of all threads (Documentation/scheduler/sched-stats.rst)."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())


def client(*command: str) -> str:
    started = [*_WITH_US, "taskset", "-c", "1", *command]
    return subprocess.run(started, capture_output=True, text=True, check=True).stdout


def wrk(seconds: float, folder: Path, connections: int, script: str = "", scheme: str = "http") -> Done:
    extra = []
    if script:
        (folder / "script.lua").write_text(script)
        extra = ["-s", str(folder / "script.lua")]
    url = f"{scheme}://127.0.0.1:{PORT}/page"
    text = client("wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", *extra, url)
    (requests,) = re.findall(r"(\d+) requests in", text)
    return int(requests), _latency(text, "50%"), _latency(text, "99%")


def _latency(text: str, share: str) -> float:
    number, unit = re.findall(rf"{share}\s+([\d.]+)(us|ms|s)", text)[0]
    return float(number) * _UNITS[unit]


def nginx(folder: Path) -> list[str]:
    (folder / "page").write_bytes(b"x" * 1400)
    (folder / "nginx.conf").write_text(NGINX.format(folder, PORT))
    return ["nginx", "-c", str(folder / "nginx.conf")]


def nginx_tls(folder: Path) -> list[str]:
    command = nginx(folder)
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run(
        [*make, "-keyout", folder / "key", "-out", folder / "certificate"], check=True, capture_output=True
    )
    keys = f" ssl; ssl_certificate {folder}/certificate; ssl_certificate_key {folder}/key;"
    configuration = folder / "nginx.conf"
    configuration.write_text(configuration.read_text().replace(f":{PORT};", f":{PORT}{keys}"))
    return command


def redis(folder: Path) -> list[str]:
    return ["redis-server", "--port", str(PORT), "--save", "", "--dir", str(folder)]


def redis_benchmark(seconds: float, folder: Path) -> Done:
    end, done, row = time.monotonic() + seconds, 0, ["0"] * 8
    while time.monotonic() < end:
        text = client("redis-benchmark", "-p", str(PORT), "-t", "get", "-n", "50000", "-c", "32", "--csv")
        row = [cell.strip('"') for cell in text.splitlines()[-1].split(",")]
        done += 50_000
    return (
        done,
        1000 * float(row[4]),
        1000 * float(row[6]),
    )  # test, rps, then latencies in ms: avg, min, p50, p95, p99


# nginx and redis: as much as they can. nginx-5000: so many requests a second. They come in bursts, since wrk has all
# of its connections wait together.
KINDS: dict[str, tuple[Callable[[Path], list[str]], Callable[[float, Path], Done]]] = {
    "nginx": (nginx, lambda seconds, folder: wrk(seconds, folder, 32)),
    "nginx-5000": (nginx, lambda seconds, folder: wrk(seconds, folder, 50, AT_A_RATE)),
    "nginx-20000": (nginx, lambda seconds, folder: wrk(seconds, folder, 260, AT_A_RATE)),
    "nginx-tls": (nginx_tls, lambda seconds, folder: wrk(seconds, folder, 32, scheme="https")),
    "redis": (redis, redis_benchmark),
}


def main(kind: str, milliseconds: str) -> None:
    command, load = KINDS[kind]
    with tempfile.TemporaryDirectory(prefix="rover-bench-") as name:
        folder = Path(name)
        with server(command(folder)) as pid:
            began_ns, before_ns = time.monotonic_ns(), cpu_ns(pid)
            done, half, most = load(int(milliseconds) / 1000, folder)
            print(done, time.monotonic_ns() - began_ns, cpu_ns(pid) - before_ns, round(half), round(most))


if __name__ == "__main__":
    missing = [name for name in ("nginx", "wrk", "redis-server", "taskset", "setpriv") if shutil.which(name) is None]
    if missing:
        raise SystemExit(f"not installed: {', '.join(missing)}. Run as root: bash tests/apt-install bench")
    main(*sys.argv[1:])
