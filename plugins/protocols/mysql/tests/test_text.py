"""Sampled statements and outcomes as text, and what must not be in it."""

import pytest
from mysql_packets import command, error, login, ok, prepared, query, result_set, text

from rover_core.wire import Exchange, Limits, Rendering
from rover_mysql.connection import MysqlConnection
from rover_mysql.text import render_message


def shown(*steps: tuple[int, bytes]) -> list[tuple[str, str]]:
    connection = MysqlConnection(Limits(content=1000))
    found: list[Exchange] = []
    for at, step in enumerate(steps, 1):
        found += connection.feed(*step, 0, at * 1000)
    halves = [(each.request, each.response) for each in found]
    return [(render_message(a, Rendering()), render_message(b, Rendering())) for a, b in halves if a and b]


def test_statements_and_outcomes_are_told() -> None:
    """Broken: a sampled exchange does not say what was asked, or what came of it."""
    steps = (
        (0, query("SELECT name FROM t WHERE id = 7")),
        (1, result_set(text("canary"))),
        (0, query("UPDATE t SET a = 1")),
        (1, ok(affected=3)),
        (0, query("SELEKT")),
        (1, error(1064, "42000")),
        (0, command(22, b"SELECT ? + 5")),
        (1, prepared(9, 1, 1)),
    )
    assert shown(*steps) == [
        ("SELECT name FROM t WHERE id = ?", "result set\nresult sets: 1\ncolumns: 1\nrows: 1"),
        ("UPDATE t SET a = ?", "ok\nrows affected: 3"),
        ("SELEKT", "error 1064 (42000)"),
        ("PREPARE SELECT ? + ?", "prepared\ncolumns: 1\nparameters: 1"),
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 'canary'",
        'SELECT "canary"',
        "CREATE USER u IDENTIFIED BY 'canary'",
        "SELECT 1 /* canary */",
        "SELECT 1 -- canary",
        "SELECT 'it''s canary', 'cut canary",
        "SELECT 'a\\', canary'",
    ],
)
def test_values_stay_where_they_are(statement: str) -> None:
    """Broken: a password or somebody's name is in a sample."""
    ((request, response),) = shown((0, query(statement)), (1, error(1064, "42000")))
    assert "canary" not in request + response


def test_who_logs_in_is_not_told() -> None:
    """Broken: a sample of a slow login holds the user's name, or what proves it."""
    assert shown((0, login()), (1, ok(2))) == [("LOGIN", "ok")]
