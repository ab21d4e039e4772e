"""A MariaDB server of a test's own."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from https import make_certificate

NEEDED = ("mariadbd", "mariadb-install-db", "mariadb")
SETUP = """
CREATE DATABASE shop;
CREATE USER app IDENTIFIED BY 's3cr3t';
GRANT ALL ON *.* TO app;
CREATE PROCEDURE shop.two() BEGIN SELECT 1; SELECT 2 UNION SELECT 3; END;
"""


def missing() -> list[str]:
    return [each for each in NEEDED if not shutil.which(each, path=_PATH)]


_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"


@contextmanager
def mariadb(folder: Path) -> Iterator[tuple[int, int]]:
    """Port and pid. It offers TLS. The general log is `log` in the folder; root has no password, app's is s3cr3t."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    common = ["--no-defaults", f"--datadir={folder}/data", "--user=root", "--innodb-log-file-size=4M"]
    install = ["mariadb-install-db", *common, "--auth-root-authentication-method=normal", "--skip-test-db"]
    subprocess.run(install, check=True, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    options = ["--bind-address=127.0.0.1", f"--port={port}", f"--socket={folder}/sql", "--skip-name-resolve"]
    options += [f"--general-log-file={folder}/log", "--general-log", "--local-infile", "--max-allowed-packet=64M"]
    make_certificate(folder)
    options += [f"--ssl-cert={folder}/certificate", f"--ssl-key={folder}/key"]
    options += ["--log-bin", "--server-id=1", "--log-warnings=0"]
    daemon = shutil.which("mariadbd", path=_PATH)
    assert daemon
    running = subprocess.Popen([daemon, *common, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while not (folder / "sql").exists() and running.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        command = ["mariadb", "--no-defaults", "-uroot", f"--socket={folder}/sql", "--delimiter=;;", "-e"]
        subprocess.run([*command, SETUP.replace(";\n", ";;\n")], check=True, timeout=30)
        yield port, running.pid
    finally:
        running.terminate()
        running.wait(30)
