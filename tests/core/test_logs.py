"""The agent's log."""

import json
import subprocess
import sys

STYLES = """
from rover_core.logs import configure_logs, get_logger
configure_logs({level!r}, {style!r})
log = get_logger("part")
log.debug("hidden")
log.warning("seen", count=3)
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed")
"""


def log(level: str, style: str) -> list[str]:
    code = STYLES.format(level=level, style=style)
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "", "the log must not mix with what commands print"
    return result.stderr.splitlines()


def test_json_is_one_object_a_line() -> None:
    """Broken: a log collector cannot read the agent's log."""
    seen, failed = (json.loads(line) for line in log("INFO", "json"))
    assert (seen["event"], seen["component"], seen["level"], seen["count"]) == ("seen", "part", "warning", 3)
    assert "ZeroDivisionError" in failed["exception"]


def test_auto_is_for_people() -> None:
    """Broken: somebody who starts the agent by hand gets JSON."""
    lines = log("DEBUG", "auto")
    assert "hidden" in lines[0]
    assert "seen" in lines[1]
    assert "\x1b" not in lines[1], "no colours into a pipe"


def test_the_import_leaves_rich_out_and_usable() -> None:
    """Broken: 4.5 MB of rich in the agent; or `import rich` fails for the commands that want it."""
    code = "import sys, rover_core.logs; assert 'rich' not in sys.modules; import rich.table"
    subprocess.run([sys.executable, "-c", code], check=True)
