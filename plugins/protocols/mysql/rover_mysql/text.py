"""Messages as text: statements with `?` for values, and outcomes. Rows, logins and error messages are left out."""

from rover_core.wire import Message, Rendering
from rover_core.wire.rendering import shorten
from rover_mysql.digest import digest
from rover_mysql.packets import COMMANDS, INIT_DB, PREPARE, QUERY, Answer, Command


def render_message(message: Message[Command] | Message[Answer], rendering: Rendering) -> str:
    detail = message.detail
    text = _command(detail, rendering.most) if isinstance(detail, Command) else _answer(detail)
    return shorten(text, rendering.most)


def _command(command: Command, most: int) -> str:
    name = COMMANDS[command.kind]
    if command.kind in (QUERY, PREPARE):
        statement = digest(command.text.decode("utf-8", "replace"), command.backslashes, most)
        return statement if command.kind == QUERY else f"{name} {statement}"
    if command.kind == INIT_DB:
        return f"{name} {command.name}"
    return f"{name} of statement {command.statement}" if command.statement else name


def _answer(answer: Answer) -> str:
    if answer.code:
        return f"error {answer.code} ({answer.sqlstate})" if answer.sqlstate else f"error {answer.code}"
    facts = (
        ("result sets", answer.sets),
        ("columns", answer.columns),
        ("rows", answer.rows),
        ("rows affected", answer.affected),
        ("warnings", answer.warnings),
        ("parameters", answer.params),
    )
    return "\n".join([answer.kind, *(f"{name}: {value}" for name, value in facts if value)])
