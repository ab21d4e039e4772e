"""Opening the store's SQLite file, and saying in one sentence what is wrong with it."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rover_core.errors import RoverError
from rover_exporter_local.schema import APPLICATION_ID, LATER, MIGRATIONS, TABLES, VERSION

_BUSY_SECONDS = 10.0
_CACHE = "PRAGMA cache_size = -1024"  # KB of pages in memory: a flush is many small inserts near each other
PRIVATE = 0o600
FILLED_BY = "`rover run` and `rover watch`"
_NOT_YOURS = "Ask as that user, or let a group in with the setting exporter.local.mode"

# By SQLite's own error names (https://www.sqlite.org/rescode.html), without the extended part.
_REMEDIES = {
    "SQLITE_CORRUPT": "Move the file out of the way; a new one is begun with the next start",
    "SQLITE_NOTADB": "Move the file out of the way, or choose another directory",
    "SQLITE_FULL": "Free space on that file system, or lower max_size",
    "SQLITE_IOERR": "Check that file system's space and the kernel log",
    "SQLITE_READONLY": "Run as a user who may write there, or choose another directory",
    "SQLITE_CANTOPEN": "Check that the directory exists and that you may use it, or choose another directory",
    "SQLITE_PERM": "Run as a user who may write there, or choose another directory",
    "SQLITE_BUSY": "Another process is writing to it: try again when that is done",
}


@contextmanager
def explained(path: Path, doing: str) -> Iterator[None]:
    """Turns what SQLite raises into a RoverError about `path`."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        remedy = next((text for prefix, text in _REMEDIES.items() if name.startswith(prefix)), "")
        raise RoverError(f"cannot {doing} {path}", why=str(error), remedy=remedy) from error


def open_for_writing(path: Path, mode: int = PRIVATE) -> sqlite3.Connection:
    """The database, made if there is none, of that mode. Raises RoverError."""
    try:
        path.parent.mkdir(mode | (mode & 0o444) >> 2, parents=True, exist_ok=True)
    except OSError as error:
        remedy = "Choose another directory for exporter.local"
        raise RoverError(f"cannot make {path.parent}", why=str(error.strerror), remedy=remedy) from error
    _set_mode(path, mode)
    with explained(path, "open"):
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def _set_mode(path: Path, mode: int) -> None:
    """What was said may be in it: it is made before SQLite could make it, which gives its logs the same mode."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
    except OSError:
        return  # SQLite says it better
    with open(descriptor, "rb"):
        for suffix in ("", "-wal", "-shm"):
            with suppress(OSError):  # nobody's logs, or another's file that we may write to
                os.chmod(f"{path}{suffix}", mode)


def open_for_reading(path: Path) -> sqlite3.Connection:
    """The database as it is, also while an agent writes to it. Raises RoverError."""
    try:
        path.open("rb").close()
    except FileNotFoundError:
        remedy = f"{FILLED_BY} fill it; or name the directory (--directory) or the agent's configuration (-c)"
        raise RoverError(f"no history in {path.parent}", why=f"{path.name} does not exist", remedy=remedy) from None
    except PermissionError:
        why = "only its owner may, since it can hold what was said, word for word"
        raise RoverError(f"you may not read {path}", why=why, remedy=_NOT_YOURS) from None
    except OSError as error:
        raise RoverError(f"cannot read {path}", why=str(error.strerror)) from error
    with explained(path, "read"):
        try:
            return _reader(path, "mode=ro")
        except sqlite3.OperationalError:
            if path.with_name(path.name + "-wal").exists():
                raise
            # A reader of a write-ahead log makes a file beside it, which one who may only read cannot. Nobody
            # has the database open, or there would be a log, so it may as well be taken for immutable.
            return _reader(path, "immutable=1")


def _reader(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=_BUSY_SECONDS)
    try:
        _check_owner(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        _check_owner(connection, path)
    else:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only has an effect before the first table
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_size_limit = 4000000")
    connection.execute(_CACHE)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    steps = "".join(MIGRATIONS[old] for old in range(version, VERSION)) if version else TABLES
    if version != VERSION:
        stamp = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
        connection.executescript(f"BEGIN IMMEDIATE; {steps} {stamp} COMMIT;")
    for statement in LATER:
        connection.execute(statement)


def _check_owner(connection: sqlite3.Connection, path: Path) -> None:
    remedy = "Move the file out of the way, or choose another directory"
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise RoverError(f"cannot use {path}", why="it is a database of another program", remedy=remedy)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (*MIGRATIONS, VERSION):
        why = f"its tables are of version {version}, this Rover knows version {VERSION}"
        raise RoverError(f"cannot use {path}", why=why, remedy=remedy)
