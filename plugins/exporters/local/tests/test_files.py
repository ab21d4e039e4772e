"""Files that are whole or not there, and come with everything they need."""

import os
import stat
import threading
import zipfile
from pathlib import Path
from subprocess import run
from typing import BinaryIO

import pytest

from rover_exporter_local.files import write_atomically

PLUGIN = Path(__file__).parent.parent
UV = PLUGIN.parents[2] / ".tools" / "uv" / "bin" / "uv"


def write_hello(out: BinaryIO) -> None:
    out.write(b"hello")


def fail(out: BinaryIO) -> None:
    out.write(b"half")
    raise OSError("disk full")


def test_an_earlier_file_survives_a_failure(tmp_path: Path) -> None:
    """Broken: a failed export destroys the one before, or leaves its temporary file."""
    path = tmp_path / "x"
    write_atomically(path, write_hello)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_bytes() == b"hello"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    """Broken: a flame graph made by root that nobody else can open, or that opens against the umask."""
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "x", write_hello)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """Broken: `--output /dev/null`, run as root, replaces the device by a file."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_atomically(pipe, write_hello)
    reader.join()
    assert got == [b"hello"]
    assert pipe.is_fifo()
    link.symlink_to(tmp_path / "target")
    write_atomically(link, write_hello)
    assert link.is_symlink()
    assert (tmp_path / "target").read_bytes() == b"hello"


@pytest.mark.packaging
@pytest.mark.skipif(not UV.exists(), reason="needs uv, which make installs")
def test_the_page_is_in_the_wheel(tmp_path: Path) -> None:
    """Broken: an installed Rover cannot write flame graphs, one run from a checkout can."""
    run([UV, "build", "--quiet", "--wheel", "--out-dir", tmp_path, PLUGIN], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if "/assets/" in name}
    assets = (PLUGIN / "rover_exporter_local" / "assets").iterdir()
    assert packed == {f"rover_exporter_local/assets/{asset.name}" for asset in assets}
