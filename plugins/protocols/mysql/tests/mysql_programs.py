"""Programs that wait for a line, then talk to a server, and say what they did."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

from mysql_accounts import Told, read_account, told
from watching import Watching

_CLIENT = Path(__file__).with_name("mysql_client.py")


def driven(driver: str, port: int, folder: Path, largest: int) -> list[str]:
    """The command of one of Python's drivers."""
    return [sys.executable, *map(str, (_CLIENT, driver, port, folder, largest))]


def work(client: "subprocess.Popen[str]") -> list[Told]:
    """What a program says that it did, once it has."""
    output, _ = client.communicate("go\n", timeout=120)
    assert client.returncode == 0
    return told(read_account(output))


def on_both_sides(rover: Watching, client: int, server: int, **which: object) -> list["Counter[tuple[str, str]]"]:
    """(operation, status) of what client and server said to each other, as either side has it."""
    ends: tuple[dict[str, object], ...] = (
        {"role": "client", "pid": client},
        {"role": "server", "pid": server, "peer": client},
    )
    return [_answered(rover.counted(**end, **which)) for end in ends]


def _answered(counts: "Counter[tuple[str, str]]") -> "Counter[tuple[str, str]]":
    return Counter({key: count for key, count in counts.items() if key[0] != "SEND_LONG_DATA"})
