"""What applications do with a MySQL server, by one of Python's drivers, which says what it did.

`python mysql_client.py DRIVER PORT FOLDER BYTES` does it as soon as it may read a line. A line of JSON for each
command that the driver sent: its number, its text before anything is replaced, what the driver made of the answer.
BYTES: the longest value. Drivers that end in -tls ask for TLS before they log in.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

LOGIN, QUIT, INIT_DB, QUERY, STATISTICS, PING, CHANGE_USER = -1, 1, 2, 3, 9, 14, 17
NO_ATTRIBUTES = b"\0\1"  # in front of a statement, where the server takes attributes
ACCOUNT: list[dict[str, Any]] = []


def note(command: int, text: object = "") -> None:
    said = bytes(text).decode("utf-8", "replace") if isinstance(text, bytes | bytearray) else str(text or "")
    ACCOUNT.append({"command": command, "text": said if command in (QUERY, 22) else "", "code": None, "state": ""})


def failed(code: int, state: str) -> None:
    ACCOUNT[-1].update(code=code, state=state)


def took(cursor: Any, has_rows: object) -> None:
    ACCOUNT[-1] |= {"rows": len(cursor.fetchall())} if has_rows else {"affected": cursor.rowcount}


Driver = tuple[Callable[..., Any], type[Exception], Callable[[Any, Exception], str]]
"""What connects, what it raises, and the SQLSTATE of that."""


def with_pymysql(port: int, tls: bool = False) -> Driver:
    import ssl

    import pymysql
    from pymysql.connections import Connection

    class Accounted(Connection):  # type: ignore[misc]
        def _request_authentication(self) -> None:
            note(LOGIN)
            super()._request_authentication()

        def _execute_command(self, command: int, text: object) -> None:
            note(command, text)
            super()._execute_command(command, text)

        def close(self) -> None:
            note(QUIT)
            super().close()

    plain = pymysql.err.raise_mysql_exception
    states = []

    def raising(data: bytes) -> None:
        states.append(data[4:9].decode() if data[3:4] == b"#" else "")
        plain(data)

    pymysql.err.raise_mysql_exception = raising
    options = {"host": "127.0.0.1", "port": port, "local_infile": True, "autocommit": True}
    options |= {"max_allowed_packet": 1 << 26, "client_flag": 1 << 16}
    options |= {"ssl": ssl._create_unverified_context()} if tls else {"ssl_disabled": True}
    return lambda **more: Accounted(**options, **more), pymysql.err.MySQLError, lambda *_: states[-1]


def with_mysqlclient(port: int, tls: bool = False) -> Driver:
    import MySQLdb
    from MySQLdb.connections import Connection

    class Accounted(Connection):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            note(LOGIN)
            super().__init__(**options)

        def query(self, text: object) -> None:
            note(QUERY, text)
            super().query(text)

        def select_db(self, name: str) -> None:
            note(INIT_DB)
            super().select_db(name)

        def change_user(self, *arguments: Any) -> None:
            note(CHANGE_USER)
            super().change_user(*arguments)

        def ping(self, *_: object) -> None:
            note(PING)
            super().ping()

        def close(self) -> None:
            note(QUIT)
            super().close()

    def connect(**more: Any) -> Accounted:
        options = more | ({"ssl": {"cipher": "DEFAULT"}} if tls else {})
        return Accounted(host="127.0.0.1", port=port, local_infile=1, autocommit=True, client_flag=1 << 16, **options)

    return connect, MySQLdb.Error, lambda connection, _: connection.sqlstate() if connection else "28000"


def with_connector(port: int, compress: bool = False, tls: bool = False) -> Driver:
    import mysql.connector
    from mysql.connector.connection import MySQLConnection

    class Accounted(MySQLConnection):
        def _do_auth(self, *arguments: Any, **more: Any) -> Any:
            note(LOGIN)
            return super()._do_auth(*arguments, **more)

        def _send_cmd(self, command: int, argument: Any = None, *rest: Any, **more: Any) -> Any:
            note(int(command), argument.removeprefix(NO_ATTRIBUTES) if argument else None)
            return super()._send_cmd(command, argument, *rest, **more)

        def cmd_statistics(self, *arguments: Any, **more: Any) -> Any:
            note(STATISTICS)
            return super().cmd_statistics(*arguments, **more)

        def cmd_change_user(self, *arguments: Any, **more: Any) -> Any:
            note(CHANGE_USER)
            return super().cmd_change_user(*arguments, **more)

        def close(self) -> None:
            if ACCOUNT[-1]["command"] != LOGIN:  # of one that failed it only hangs up
                note(QUIT)
            super().close()

    def connect(**more: Any) -> Accounted:
        options = {"collation": "utf8mb4_general_ci", "charset": "utf8mb4", "allow_local_infile": True}
        options |= {"autocommit": True, "ssl_disabled": not tls, "compress": compress}
        return Accounted(host="127.0.0.1", port=port, **options, **more)

    return connect, mysql.connector.Error, lambda _, error: str(error.sqlstate)  # type: ignore[attr-defined]


DRIVERS: dict[str, Callable[[int], Driver]] = {
    "pymysql": with_pymysql,
    "mysqlclient": with_mysqlclient,
    "connector": with_connector,
    "connector-compressed": partial(with_connector, compress=True),
    "pymysql-tls": partial(with_pymysql, tls=True),
    "mysqlclient-tls": partial(with_mysqlclient, tls=True),
    "connector-tls": partial(with_connector, tls=True),
}
STATEMENTS: list[tuple[str, tuple[object, ...]]] = [
    ("DROP TABLE IF EXISTS t", ()),
    ("CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(100), big LONGBLOB)", ()),
    ("INSERT INTO t (id, name) VALUES (%s, %s), (%s, %s), (3, NULL)", (1, "s3cr3t", 2, "it's \\ s3cr3t")),
    ("SELECT id, name FROM t WHERE id > %s", (1,)),
    ("SELECT id FROM t WHERE name = %s", ("nobody, s3cr3t",)),
    ("SELECT seq, REPEAT('x', %s) FROM seq_1_to_2000", (40,)),
    ("UPDATE t SET name = %s WHERE id IN (%s, %s)", ("s3cr3t ä", 1, 2)),
    ("INSERT INTO t (id) VALUES (%s)", (1,)),
    ("SELECT * FROM missing WHERE a = %s", ("s3cr3t",)),
    ("SELEKT 's3cr3t'", ()),
    ("SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1644, MESSAGE_TEXT = 's3cr3t'", ()),
    ("BEGIN", ()),
    ("DELETE FROM t WHERE id = %s", (3,)),
    ("ROLLBACK", ()),
    ("SELECT COUNT(*), SUM(id), MAX(name), NOW(6), 1.5 FROM t", ()),
]
SEVERAL = [
    "SELECT 1; UPDATE t SET name = 's3cr3t' WHERE id = 1; SELECT 2 UNION SELECT 3",
    "DO 1; SELECT * FROM missing; SELECT 4",
    "CALL two()",
]


class Client:
    def __init__(self, driver: str, port: int) -> None:
        self._connect, self._error, self._state = DRIVERS[driver](port)
        self.connection: Any = None

    def connect(self, **options: Any) -> None:
        self.attempt(lambda: setattr(self, "connection", self._connect(**options)))

    def attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        except self._error as error:
            code = error.args[0]
            failed(code if isinstance(code, int) else error.errno, self._state(self.connection, error))  # type: ignore[attr-defined]

    def execute(self, text: str, values: tuple[object, ...] = ()) -> None:
        self.attempt(lambda: self._execute(text, values))

    def _execute(self, text: str, values: tuple[object, ...]) -> None:
        cursor = self.connection.cursor()
        cursor.execute(text, values) if values else cursor.execute(text)
        took(cursor, cursor.description)
        cursor.close()

    def several(self, text: str) -> None:
        """Statements in one command, or one that yields several results."""
        self.attempt(lambda: self._several(text))

    def _several(self, text: str) -> None:
        cursor = self.connection.cursor()
        cursor.execute(text)
        rows = len(cursor.fetchall()) if cursor.description else 0
        while cursor.nextset():
            rows += len(cursor.fetchall()) if cursor.description else 0
        ACCOUNT[-1]["rows"] = rows
        cursor.close()


def work(driver: str, port: int, folder: Path, largest: int) -> None:
    client = Client(driver, port)
    client.connect(user="root", password="wrong s3cr3t")
    client.connect(user="app", password="s3cr3t", database="shop")
    for text, values in STATEMENTS:
        client.execute(text, values)
    for text in SEVERAL:
        client.several(text)
    file = folder / f"{driver}.csv"
    file.write_text("".join(f"{number},s3cr3t {number}\n" for number in range(10, max(100, largest // 400))))
    client.execute(f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE t FIELDS TERMINATED BY ',' (id, name)")
    client.execute(f"SELECT LENGTH('{'x' * largest}') AS length")
    client.execute("SELECT REPEAT('x', %s)", (largest,))
    connection = client.connection
    if driver.startswith("connector"):
        prepared(client)
        connection.cmd_statistics()
        connection.cmd_init_db("shop")
    else:
        connection.select_db("shop")
    if driver in ("connector", "connector-tls"):
        connection.cmd_change_user(username="app", password="s3cr3t", database="shop", charset=45)
    if driver.startswith("mysqlclient"):
        connection.change_user("app", "s3cr3t", "shop")
    connection.ping()
    client.execute("SELECT 'the last'")
    connection.close()


def prepared(client: Client) -> None:
    """Each text is prepared, executed some times and forgotten."""
    cursor = client.connection.cursor(prepared=True)
    for text, sets in (
        ("SELECT id, name FROM t WHERE id < %s AND name <> %s", [(100, "s3cr3t"), (3, "s3cr3t"), (0, "")]),
        ("UPDATE t SET name = %s WHERE id = %s", [("s3cr3t", 10), (None, 11)]),
        ("INSERT INTO t (id) VALUES (%s)", [(1,)]),
    ):
        for values in sets:
            client.attempt(lambda text=text, values=values: _run(cursor, text, values))  # type: ignore[misc]
    client.attempt(lambda: cursor.execute("SELECT * FROM missing WHERE a = %s", ("s3cr3t",)))
    cursor.close()


def _run(cursor: Any, text: str, values: tuple[object, ...]) -> None:
    cursor.execute(text, values)
    took(cursor, text.startswith("SELECT"))  # what it says of columns is the one before's


if __name__ == "__main__":
    sys.stdin.readline()
    work(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    for entry in ACCOUNT:
        print(json.dumps(entry))
