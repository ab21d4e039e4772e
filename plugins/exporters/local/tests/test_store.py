"""The store: what comes out is what went in, within its bounds, and its failures are sentences."""

import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from rover_core.errors import RoverError, UsageError
from rover_core.model import Completeness, Loss, Profile, merge_profiles
from rover_exporter_local.schema import VERSION
from rover_exporter_local.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "profiles.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store.open(path)
    yield store
    store.close()


def encodable(profile: Profile) -> Profile:
    """What a text database can hold of the profile: the one name that is not UTF-8 comes back escaped."""
    samples = tuple(
        replace(s, user=tuple(replace(f, module=f.module.replace("\udcff", "\\udcff")) for f in s.user))
        for s in profile.samples
    )
    return replace(profile, samples=samples)


def test_loaded_equals_stored(store: Store, profile: Profile) -> None:
    """Broken: the history shows something else than what was measured."""
    assert store.add(profile) == "task-1"
    assert store.load("task-1") == encodable(profile)


def test_loaded_is_merged(store: Store, profile: Profile) -> None:
    """Broken: a task of several flushes loses some, or counts stacks or losses apart."""
    later = replace(
        profile,
        start_ns=profile.end_ns,
        end_ns=profile.end_ns + 5,
        samples=profile.samples[2:4],
        completeness=Completeness(9, 6, {Loss.RING_FULL: 3}),
    )
    for part in (profile, later, later):
        store.add(part)
    assert store.load("task-1") == encodable(merge_profiles([profile, later, later]))
    (task,) = store.tasks()
    assert (task.profiles, task.processes) == (3, 5)
    assert task.completeness.lost == {Loss.MAP_FULL: 1, Loss.RING_FULL: 6}


def test_labels_are_kept_and_keep_samples_apart(store: Store, waiting: Profile) -> None:
    """Broken: the history cannot tell preemption from waiting."""
    for part in (waiting, waiting):
        store.add(part)
    assert store.load("task-2") == merge_profiles([waiting, waiting])


def version_1(path: Path, profile: Profile) -> None:
    """A store as it was before there were labels."""
    store = Store.open(path)
    store.add(profile)
    store.close()
    connection = sqlite3.connect(path)
    connection.executescript(
        "ALTER TABLE samples DROP COLUMN labels; DROP TABLE labels; DROP TABLE flows; "
        "DROP TABLE talkers; PRAGMA user_version = 1;"
    )
    connection.close()


def test_an_old_store_is_read_as_it_is(path: Path, profile: Profile) -> None:
    """Broken: `rover history` fails after an update, until the agent has run once."""
    version_1(path, profile)
    before = path.read_bytes()
    store = Store.read(path)
    assert store.load("task-1") == encodable(profile)
    store.close()
    assert path.read_bytes() == before


def test_an_old_store_is_written_to(path: Path, profile: Profile, waiting: Profile) -> None:
    """Broken: an update loses the history, or new profiles their labels."""
    version_1(path, profile)
    store = Store.open(path)
    store.add(waiting)
    assert (store.load("task-1"), store.load("task-2")) == (encodable(profile), waiting)
    store.close()
    Store.open(path).close()


def test_labels_go_with_the_last_that_has_them(path: Path, waiting: Profile) -> None:
    """Broken: a store grows for ever by labels that nobody has."""
    store = Store.open(path, retention_ns=10**9)
    store.add(replace(waiting, start_ns=1, end_ns=2))
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM labels").fetchone() == (1,)
    connection.close()
    store.close()


def test_repeated_flushes_cost_little(store: Store, scattered: Callable[[int], Profile]) -> None:
    """Broken: every flush stores its names and stacks again."""
    profile = scattered(2000)
    store.add(profile)
    first = store.size()
    store.add(profile)
    assert store.size() - first < first / 4


def test_runs_of_a_task_are_kept_apart(path: Path, profile: Profile, empty: Profile) -> None:
    """Broken: yesterday's run of a configured task is mixed into today's."""
    for name in ("task-1", "task-1~2", "task-1~3"):
        store = Store.open(path)
        assert [store.add(profile), store.add(profile)] == [name, name]
        store.close()
    reader = Store.read(path)
    assert [task.task_id for task in reader.tasks()] == ["task-1", "task-1~2", "task-1~3"]
    assert sum(sample.values[0] for sample in reader.load("task-1~2").samples) == 32
    reader.close()


def test_an_empty_profile_is_kept(store: Store, empty: Profile) -> None:
    """Broken: that nothing ran cannot be told from that nothing was profiled."""
    store.add(empty)
    assert store.load("none") == empty


def test_unknown_task_is_a_usage_error(store: Store) -> None:
    """Broken: a traceback for a mistyped id."""
    with pytest.raises(UsageError, match=r"no task 'nope' in .*history list"):
        store.load("nope")


def test_retention_by_age(path: Path, profile: Profile) -> None:
    """Broken: the store keeps profiles for ever, or forgets fresh ones."""
    now = time.time_ns()
    old = replace(profile, task_id="old", start_ns=now - 200, end_ns=now - 100)
    store = Store.open(path)
    store.add(old)
    store.close()
    store = Store.open(path, retention_ns=50)
    assert store.dropped == 1
    assert store.tasks() == []
    fresh = replace(profile, start_ns=now, end_ns=now + 10**12)
    store.add(fresh)
    assert store.load("task-1") == encodable(fresh)
    store.close()


def test_retention_by_size(path: Path, scattered: Callable[[int], Profile]) -> None:
    """Broken: the store outgrows its bound, drops the newest first, or keeps the names of what it dropped."""
    bound = 1_500_000
    store = Store.open(path, max_size=bound)
    profiles = [replace(scattered(700 + n), task_id=f"t{n}", end_ns=1000 + n) for n in range(12)]
    for profile in profiles:
        store.add(profile)
        assert store.size() <= bound
    kept = [task.task_id for task in store.tasks()]
    assert kept == [f"t{n}" for n in range(12)][-len(kept) :]
    assert store.dropped == 12 - len(kept) > 0
    assert store.load("t11") == profiles[-1]
    store.close()
    assert path.stat().st_size <= bound + 100_000
    assert not path.with_name("profiles.db-wal").exists()


def test_the_newest_profile_stays_whatever_its_size(path: Path, scattered: Callable[[int], Profile]) -> None:
    """Broken: a profile larger than the store is gone before anyone saw it."""
    store = Store.open(path, max_size=10_000)
    profile = scattered(500)
    store.add(replace(profile, task_id="first"))
    store.add(profile)
    assert [task.task_id for task in store.tasks()] == ["big"]
    assert store.load("big") == profile
    store.close()


def a_file(path: Path, content: str, age_ns: int = 0) -> tuple[str, int, int]:
    """Written so long ago; what `Store.add_file` wants to know of it."""
    path.write_text(content)
    stamp = time.time_ns() - age_ns
    os.utime(path, ns=(stamp, stamp))
    return str(path), len(content), stamp


def test_old_files_are_removed_but_only_ours(path: Path, profile: Profile) -> None:
    """Broken: files pile up until the disk is full, or Rover removes what somebody else put there."""
    now = time.time_ns()
    store = Store.open(path, retention_ns=10**12)
    folder = path.parent
    (folder / "theirs.html").write_text("never ours")
    os.utime(folder / "theirs.html", ns=(1, 1))
    for name in ("old.html", "edited.html", "gone.html"):
        store._retention_ns = 0
        store.add_file(*a_file(folder / name, "x", 2 * 10**12))
    store.add_file(*a_file(folder / "fresh.html", "x"))
    (folder / "edited.html").write_text("changed since")
    (folder / "gone.html").unlink()
    store._retention_ns = 10**12
    store.add(replace(profile, start_ns=now, end_ns=now))
    assert store.removed == 1
    assert sorted(each.name for each in folder.glob("*.html")) == ["edited.html", "fresh.html", "theirs.html"]
    store.close()


def test_files_count_towards_the_size(path: Path, profile: Profile) -> None:
    """Broken: a bounded store with unbounded files beside it; the newest file gone before anyone saw it."""
    store = Store.open(path, max_size=420_000)
    store.add(profile)  # ends in the future: whatever is old, it is not this
    for number in range(5):
        store.add_file(*a_file(path.parent / f"{number}.html", "x" * 100_000, age_ns=10**10 - number))
    assert sorted(each.name for each in path.parent.glob("*.html")) == ["2.html", "3.html", "4.html"]
    assert (store.removed, store.dropped) == (2, 0)
    store.add_file(*a_file(path.parent / "huge.html", "x" * 900_000))
    assert [each.name for each in path.parent.glob("*.html")] == ["huge.html"]
    assert [task.task_id for task in store.tasks()] == ["task-1"]
    store.close()


def test_files_that_somebody_removed_cost_nothing(path: Path, profile: Profile) -> None:
    """Broken: profiles are dropped to make room for files that are no more."""
    store = Store.open(path, max_size=420_000)
    for number in range(3):
        store.add_file(*a_file(path.parent / f"{number}.html", "x" * 300_000))
        (path.parent / f"{number}.html").unlink()
    store.add(replace(profile, task_id="old", start_ns=1, end_ns=2))
    store.add(profile)
    assert store.dropped == 0
    store.close()


def test_a_store_from_before_files_were_remembered(path: Path, profile: Profile) -> None:
    """Broken: an existing store is refused, or fails with the first file."""
    Store.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE files")
    connection.close()
    store = Store.open(path)
    store.add_file(*a_file(path.parent / "x.html", "x"))
    store.close()


def test_readers_and_the_writer_do_not_disturb_each_other(path: Path, profile: Profile) -> None:
    """Broken: looking at the history stops the agent from writing, or fails while it writes."""
    store = Store.open(path)
    store.add(profile)
    seen: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            reader = Store.read(path)
            seen.append(sum(sample.values[0] for sample in reader.load("task-1").samples))
            reader.close()

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(40):
        store.add(profile)
    done.set()
    thread.join()
    store.close()
    assert seen == sorted(seen)
    assert all(value % 16 == 0 for value in seen), "half a profile was seen"


def test_a_failed_write_leaves_nothing_behind(path: Path, scattered: Callable[[int], Profile]) -> None:
    """Broken: a full disk spoils the store, or ends in a traceback, or the next write refers to numbers undone."""
    store = Store.open(path)
    small, large = replace(scattered(50), task_id="small"), scattered(5000)
    store.add(small)
    connection = store._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 20}")
    with pytest.raises(RoverError, match=r"cannot write to .*profiles.db: database or disk is full\. Free space"):
        store.add(large)
    connection.execute("PRAGMA max_page_count = 1000000")
    assert [task.task_id for task in store.tasks()] == ["small"]
    store.add(large)
    assert store.load("big") == large
    store.close()


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_corrupt_file(path: Path, content: bytes) -> None:
    """Broken: a traceback, or somebody's file overwritten."""
    path.parent.mkdir()
    path.write_bytes(content)
    for attempt in (Store.open, Store.read):
        with pytest.raises(RoverError, match="Move the file out of the way"):
            attempt(path)
    assert path.read_bytes() == content


def test_damaged_inside(path: Path, scattered: Callable[[int], Profile]) -> None:
    """Broken: a traceback for a file that a crash of the host left half written."""
    store = Store.open(path)
    store.add(scattered(300))
    store.close()
    content = bytearray(path.read_bytes())
    content[8192:-4096] = os.urandom(len(content) - 8192 - 4096)
    path.write_bytes(content)
    with pytest.raises(RoverError, match=r"malformed.*Move the file out of the way"):
        Store.read(path).load("big")


def test_foreign_database(path: Path) -> None:
    """Broken: our tables end up in another program's database."""
    path.parent.mkdir()
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE theirs (x)")
    foreign.close()
    before = path.read_bytes()
    for attempt in (Store.open, Store.read):
        with pytest.raises(RoverError, match="database of another program"):
            attempt(path)
    assert path.read_bytes() == before


def test_newer_version(path: Path) -> None:
    """Broken: an old Rover misreads a newer one's store."""
    Store.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(RoverError, match=f"version {VERSION + 1}"):
        Store.open(path)


def test_no_history(path: Path) -> None:
    """Broken: looking at the history creates a store, or does not say what to do."""
    with pytest.raises(RoverError, match=r"no history in .*`rover run` and `rover watch` fill it"):
        Store.read(path)
    assert not path.parent.exists()


def test_directory_that_cannot_be(tmp_path: Path) -> None:
    """Broken: a traceback for a mistyped directory."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RoverError, match=r"cannot make .*Choose another directory"):
        Store.open(tmp_path / "file" / "data" / "profiles.db")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_anyone_who_may_read_may_look(tmp_path: Path, profile: Profile) -> None:
    """Broken: only root can look at what a root agent stored, or others get a traceback when they cannot write."""
    path = tmp_path / "profiles.db"
    store = Store.open(path, mode=0o644)
    store.add(profile)
    for folder in (tmp_path, *tmp_path.parents):
        if Path(tempfile.gettempdir()) in folder.parents:
            folder.chmod(0o755)
    assert as_nobody(f"print(len(Store.read(Path({str(path)!r})).tasks()))") == "1"
    store.close()
    assert as_nobody(f"print(len(Store.read(Path({str(path)!r})).tasks()))") == "1"
    assert "You" not in (denied := as_nobody(f"Store.open(Path({str(path)!r}))"))
    assert denied.startswith("cannot open")
    assert "Run as a user who may write there" in denied


def as_nobody(statement: str) -> str:
    """What a process without any right prints, or the RoverError it meets."""
    program = (
        "import os; from pathlib import Path; from rover_core.errors import RoverError;"
        "from rover_exporter_local.store import Store; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"try:\n    {statement}\nexcept RoverError as error:\n    print(error)"
    )
    result = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return result.stdout.strip()


def test_a_store_is_its_owners_alone(tmp_path: Path, profile: Profile) -> None:
    """Broken: whoever has an account on the host reads what was said on its connections."""
    before = os.umask(0)
    try:
        path = tmp_path / "new" / "profiles.db"
        with closing(Store.open(path)) as store:
            store.add(profile)
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        assert modes == dict.fromkeys(("profiles.db", "profiles.db-wal", "profiles.db-shm"), 0o600)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        path.chmod(0o644)  # as an earlier Rover left it
        with closing(Store.open(path)):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        shared = tmp_path / "shared" / "profiles.db"
        with closing(Store.open(shared, mode=0o640)):
            assert stat.S_IMODE(shared.stat().st_mode) == 0o640
        assert stat.S_IMODE(shared.parent.stat().st_mode) == 0o750
    finally:
        os.umask(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_who_may_not_read_it_is_told_so(tmp_path: Path) -> None:
    """Broken: a person without the right sees a traceback, or is told that there is no history."""
    path = tmp_path / "data" / "profiles.db"
    Store.open(path).close()
    for folder in (tmp_path, *tmp_path.parents):
        if Path(tempfile.gettempdir()) in folder.parents:
            folder.chmod(0o755)
    sentence = f"you may not read {path}: only its owner may, since it can hold what was said, word for word"
    for folder in (0o755, 0o700):
        path.parent.chmod(folder)
        assert as_nobody(f"Store.read(Path({str(path)!r}))").startswith(sentence)
