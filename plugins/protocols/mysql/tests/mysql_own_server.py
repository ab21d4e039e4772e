"""MySQL's own server and programs, which Debian 12 has not: of a newer Debian, in a root of their own.

They are unpacked once (`fetch-mysql`), and see what a folder holds as `/mnt`.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from end_to_end import until
from nginx import free_port

HERE = Path(__file__).parent
ROOT = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rover" / "mysql"
ENTER = """
mount --bind "$1" "$2/mnt"; mount --rbind /dev "$2/dev"
root=$2; shift 2
exec chroot "$root" "$@"
"""
OPTIONS = """
[mysqld]
user=root
datadir=/mnt/data
socket=/mnt/sql
mysqlx=OFF
secure-file-priv=
bind-address=127.0.0.1
skip-name-resolve
local-infile
max-allowed-packet=64M
innodb-buffer-pool-size=64M
general-log
general-log-file=/mnt/log
gtid-mode=ON
enforce-gtid-consistency
performance-schema-consumer-events-statements-history-long=ON
performance-schema-events-statements-history-long-size=10000
"""
SETUP = """
INSTALL COMPONENT 'file://component_query_attributes';;
CREATE USER app IDENTIFIED BY 's3cr3t';;
GRANT ALL ON *.* TO app;;
CREATE DATABASE shop;;
USE shop;;
CREATE PROCEDURE two() BEGIN SELECT 1; SELECT 2 UNION SELECT 3; END;;
SET SESSION cte_max_recursion_depth = 2000;;
CREATE TABLE seq_1_to_2000 AS WITH RECURSIVE s (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM s WHERE seq < 2000)
SELECT seq FROM s;;
CREATE TABLE seq_1_to_9 AS SELECT * FROM seq_1_to_2000 WHERE seq < 10;;
"""


def inside(folder: Path, *command: object) -> list[str]:
    """The command in the root, by a mount namespace of its own, which ends with it."""
    return ["unshare", "--mount", "sh", "-ec", ENTER, "sh", *map(str, (folder, ROOT, *command))]


def compiled(source: Path, folder: Path) -> None:
    """A program with MySQL's library for the root: `folder` has it under the source's name, without its ending.

    The library asks for a newer C library than this machine's, which is there when the program runs.
    """
    headers, library = ROOT / "usr/include", *ROOT.glob("usr/lib/*/libmysqlclient.so")
    command = ["gcc", "-O1", "-I", headers / "mysql", "-idirafter", headers, source, library]
    command += ["-Wl,--allow-shlib-undefined", "-o", folder / source.stem]
    subprocess.run(command, check=True, timeout=60)


@contextmanager
def mysql(folder: Path) -> Iterator[tuple[int, int]]:
    """Port and pid. It offers TLS and all compression; app's password is s3cr3t."""
    if not ROOT.exists():
        subprocess.run([HERE / "fetch-mysql", ROOT], check=True, timeout=600)
    port = free_port()
    (folder / "mysqld.cnf").write_text(f"{OPTIONS}port={port}\n")
    command = inside(folder, "/usr/sbin/mysqld", "--defaults-file=/mnt/mysqld.cnf")
    with (folder / "errors").open("wb") as errors:
        subprocess.run([*command, "--initialize-insecure"], check=True, timeout=180, stderr=errors)
        running = subprocess.Popen(command, stderr=errors)
    try:
        until(lambda: (folder / "sql").exists() or running.poll() is not None, within_s=120)
        assert running.poll() is None, (folder / "errors").read_text()[-2000:]
        told(folder, SETUP)
        yield port, running.pid
    finally:
        running.terminate()
        running.wait(60)


def told(folder: Path, statements: str) -> str:
    """What the server answers to root: rows as lines, columns apart by tabs. statements: with `;;` behind each."""
    command = inside(folder, "mysql", "--no-defaults", "-uroot", "--socket=/mnt/sql", "--delimiter=;;", "-N")
    done = subprocess.run(command, input=statements, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
