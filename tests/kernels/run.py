"""Runs the kernel tests on other kernels, each in a virtual machine, and prints one table. `make test-kernels`.

The machines are emulated (qemu's TCG), so this works where there is no KVM: 10 to 30 times slower than the host. Each
boots its kernel with the root file system that `build-image` made, which stays as it was (snapshot=on), finds the
project and what it needs on a second disk made here, and writes its report to a third.
"""

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).parents[2]
HERE = Path(__file__).parent
AREAS = {
    "bpf": ("runtime", ""),
    "plugins.oncpu": ("on-CPU profiler", "on-CPU"),
    "plugins.offcpu": ("off-CPU profiler", "off-CPU"),
    "plugins.network": ("network profiler", "network"),
    "tests.kernel": ("probe plans, both ways compared", ""),
}
"""Where tests are: what the table calls them, and the plan whose probe stands in their row."""
TESTS = (
    "-m",
    "kernel",
    "bpf/tests",
    "plugins/oncpu",
    "plugins/offcpu",
    "plugins/network",
    "tests/kernel",
)
# Plugins of pytest that no kernel test uses, and that take an emulated processor seconds to import.
QUICKER = (
    "-p",
    "no:hypothesispytest",
    "-p",
    "no:cacheprovider",
    "--color=no",
    "--durations=20",
    "-o",
    "junit_family=xunit1",
)
MACHINE = ("-accel", "tcg,thread=multi", "-cpu", "Nehalem", "-smp", "2", "-m", "2G")  # numpy wants x86-64-v2
# Without cmpxchg16b (feature 141), which qemu 7.2 emulates so that SLUB's lists of 6.12 break while it boots.
COMMAND_LINE = "console=ttyS0 quiet panic=-1 mitigations=off clearcpuid=141"
LEFT_OUT = ("mypy", "ruff", "import-linter", "grimp")
"""Large, and for the source alone."""
SLOW = "this one is emulated"


def say(text: str) -> None:
    print(f"{time.strftime('%T')} {text}", flush=True)


@dataclass(slots=True)
class Guest:
    """One kernel under test, from its start to its report."""

    suite: str
    release: str
    log: Path
    report: Path
    process: "subprocess.Popen[bytes]"
    started: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    counted: int = 0

    def results(self) -> "Counter[str]":
        """Tests that are over, by result, from the console."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return Counter(re.findall(r"^\S+::.* (PASSED|FAILED|ERROR|SKIPPED|XFAIL)", text, re.MULTILINE))


def make_disk(folder: Path, tests: Sequence[str]) -> Path:
    """The second disk: the project's files, and what a plain install of its wheels brings."""
    tree, disk = folder / "tree", folder / "project.ext4"
    source, site = tree / "source", tree / "site"
    source.mkdir(parents=True)
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT, capture_output=True, check=True,
    ).stdout  # fmt: skip
    existing = b"\0".join(name for name in files.split(b"\0") if name and (PROJECT / os.fsdecode(name)).exists())
    subprocess.run(["xargs", "-0", "cp", "--parents", "-t", source], cwd=PROJECT, input=existing, check=True)
    install(folder / "requirements.txt", site)
    (tree / "guest-init").write_bytes((HERE / "guest-init").read_bytes())
    (tree / "guest-init").chmod(0o755)
    (tree / "arguments").write_text(shlex.join((*QUICKER, *tests)) + "\n")  # xargs takes the same quotes
    (tree / "environment").write_text(f"export ROVER_TEST_KPROBES=1 ROVER_SLOW_MACHINE='{SLOW}'\n")
    size = int(subprocess.run(["du", "-sm", tree], capture_output=True, text=True, check=True).stdout.split()[0])
    subprocess.run(
        ["mke2fs", "-q", "-q", "-F", "-t", "ext4", "-d", tree, disk, f"{size * 5 // 4 + 64}M"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return disk


def install(requirements: Path, site: Path) -> None:
    uv = os.environ.get("UV", "uv")
    export = ["export", "--quiet", "--frozen", "--all-packages", "--all-extras", "--no-emit-workspace", "--no-hashes"]
    export += [f"--no-emit-package={package}" for package in LEFT_OUT]
    subprocess.run([uv, *export, "-o", requirements], cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
    members = [str(path.parent) for path in PROJECT.glob("*/pyproject.toml")]
    members += [str(path.parent) for path in PROJECT.glob("plugins/**/pyproject.toml")]
    command: list[str | Path] = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--python",
        sys.executable,
        "--compile-bytecode",
        "--target",
        site,
    ]
    subprocess.run([*command, "-r", requirements], check=True)
    subprocess.run([*command, "--no-deps", PROJECT, *members], check=True)


def boot(cache: Path, suite: str, disk: Path, folder: Path) -> Guest:
    kernel = cache / suite
    release = (kernel / "release").read_text().strip()
    log, report = cache / "logs" / f"{release}.log", folder / f"{suite}.tar"
    log.parent.mkdir(exist_ok=True)
    log.write_text("")
    with report.open("wb") as file:
        file.truncate(16 << 20)
    drives = (f"{cache / 'root.ext4'},snapshot=on", f"{disk},snapshot=on", str(report))
    options = [option for drive in drives for option in ("-drive", f"file={drive},format=raw,if=virtio")]
    say(f"booting {release} (console: {log})")
    process = subprocess.Popen(
        [
            "qemu-system-x86_64", *MACHINE, "-nodefaults", "-no-reboot", "-display", "none",
            "-serial", f"file:{log}",
            "-kernel", str(kernel / "vmlinuz"), "-initrd", str(kernel / "initrd.gz"), "-append", COMMAND_LINE,
            *options,
        ],
        stdin=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(folder)},  # where snapshot=on keeps what guests write
    )  # fmt: skip
    return Guest(suite, release, log, report, process)


def watch(guests: Sequence[Guest], deadline: float) -> None:
    """Wait for the guests, saying every half minute how far they are; end those that take too long."""
    said = time.monotonic()
    while running := [guest for guest in guests if not guest.ended]:
        time.sleep(0.5)
        for guest in running:
            late = time.monotonic() > deadline
            if late:
                say(f"{guest.release}: out of time, ended")
                guest.process.kill()
                guest.process.wait()
            if guest.process.poll() is not None:
                guest.ended = time.monotonic()
        if time.monotonic() - said > 30:
            said = time.monotonic()
            for guest in running:
                done = ", ".join(f"{count} {result.lower()}" for result, count in guest.results().items())
                say(f"{guest.release}: tests: {done or 'none yet'}")


@dataclass(slots=True)
class Report:
    """What a guest has to say. Empty if it did not come to its end."""

    status: int = -1
    probes: dict[str, str] = field(default_factory=dict)
    results: dict[str, "Counter[str]"] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def read_report(guest: Guest) -> Report:
    report = Report()
    try:
        with tarfile.open(guest.report) as tar:
            report.status = int(read(tar, "status"))
            root = ElementTree.fromstring(read(tar, "junit.xml"))  # our own guest wrote it
    except (tarfile.TarError, KeyError, ValueError, ElementTree.ParseError) as error:
        report.failures.append(f"no report: {error}")
        return report
    for case in root.iter("testcase"):
        count_case(case, report)
    return report


def read(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(f"./{name}")
    return file.read() if file else b""


def count_case(case: ElementTree.Element, report: Report) -> None:
    name = case.get("classname", "")
    area = next((area for area in AREAS if name.startswith(area)), name)
    result = next((tag for tag in ("failure", "error", "skipped") if case.find(tag) is not None), "passed")
    report.results.setdefault(area, Counter())[result] += 1
    if result in ("failure", "error"):
        report.failures.append(f"{name}::{case.get('name')}")
    for item in case.iter("property"):
        report.probes[item.get("name", "")] = item.get("value", "")


def table(guests: Sequence[Guest], reports: Sequence[Report]) -> str:
    lines = ["| kernel | tests of | probe taken | passed | failed | skipped |", "|---|---|---|---:|---:|---:|"]
    for guest, report in zip(guests, reports, strict=True):
        for area, (title, plan) in AREAS.items():
            counts = report.results.get(area, Counter())
            failed = counts["failure"] + counts["error"]
            probe = f"`{report.probes.get(plan, 'unknown')}`" if plan else ""
            lines.append(
                f"| {guest.release} | {title} | {probe} | {counts['passed']} | {failed} | {counts['skipped']} |"
            )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="the folder that build-image filled")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds for all guests together")
    parser.add_argument("--tests", default=" ".join(TESTS), help="arguments of pytest")
    parser.add_argument("suites", nargs="+", help="Debian suites whose kernels are tested")
    options = parser.parse_args()
    begin = time.monotonic()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit("ended"))  # by way of `finally`: no machine is left behind
    with tempfile.TemporaryDirectory(dir=options.cache, prefix="run-") as name:
        say("putting the project on a disk")
        disk = make_disk(Path(name), shlex.split(options.tests))
        guests: list[Guest] = []
        try:
            for suite in options.suites:
                guests += [boot(options.cache, suite, disk, Path(name))]
            watch(guests, begin + options.timeout)
        finally:
            for guest in guests:
                guest.process.kill()
                guest.process.wait()
        reports = [read_report(guest) for guest in guests]
    print(f"\n{table(guests, reports)}\n")
    for guest, report in zip(guests, reports, strict=True):
        say(f"{guest.release}: took {guest.ended - guest.started:.0f} s, console in {guest.log}")
        for failure in report.failures:
            say(f"{guest.release}: FAILED {failure}")
    say(f"took {time.monotonic() - begin:.0f} s in all")
    return 0 if all(report.status == 0 for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
