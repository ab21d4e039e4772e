"""Fixtures of a host that tests move by hand."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from watched_host import Host

from rover_continuous.readings import StatReader
from rover_continuous.watchlist import Watchlist


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def watchlist(host: Host) -> Iterator[Watchlist]:
    watchlist = Watchlist(reader=StatReader(host.root), processors=4)
    yield watchlist
    watchlist.reader.close()
