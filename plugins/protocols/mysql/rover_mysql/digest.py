"""Statements without their values: what a statement does, as tables are drawn by."""

import re
from functools import lru_cache

_LONGEST = 512
# Each alternative begins with a letter of its own, so that the search for the next is fast, and none can fail
# once its end is there or the statement's, so that it never goes back.
# (Possessive quantifiers are wrong before Python 3.11.5.)
_TOKENS = r"""
    '{single}(?:'|\\?\Z)
  | "{double}(?:"|\\?\Z)
  | [0-9](?<![\w$@.][0-9])[\w.$]*(?:(?<=[eE])[+-][0-9]+)?
  | \.(?<![\w$@`)]\.)[0-9][\w$]*(?:(?<=[eE])[+-][0-9]+)?
  | (`[^`]*(?:``[^`]*)*(?:`|\Z))
  | (/\*(?!!).*?(?:\*/|\Z) | \#[^\n]* | --(?=\s|\Z)[^\n]* | [\t\n\r\f\v]\s* | [ ]\s+)
"""
_ESCAPED = {"single": r"[^'\\]*(?:(?:\\.|'')[^'\\]*)*", "double": r'[^"\\]*(?:(?:\\.|"")[^"\\]*)*'}
_DOUBLED = {"single": r"[^']*(?:''[^']*)*", "double": r'[^"]*(?:""[^"]*)*'}
_STATEMENT = re.compile(_TOKENS.format(**_ESCAPED), re.VERBOSE | re.DOTALL)
_PLAIN_STATEMENT = re.compile(_TOKENS.format(**_DOUBLED), re.VERBOSE | re.DOTALL)
_SIGNED = re.compile(r"([=(,<>] ?)[-+]\?")
_SPACES = re.compile(r"  +")
_LIST = re.compile(r"\( ?\?(?: ?, ?\?)+ ?\)")
_LISTS = re.compile(r"(\( ?\? ?\))(?: ?, ?\( ?\? ?\))+")
_WORD = re.compile(r"[( ]*([A-Za-z]+)")

_CLASSES = frozenset(
    {
        "SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "CALL", "SET", "SHOW", "BEGIN", "START", "COMMIT",
        "ROLLBACK", "SAVEPOINT", "USE", "CREATE", "ALTER", "DROP", "TRUNCATE", "LOAD", "LOCK", "UNLOCK",
        "EXPLAIN", "DESCRIBE", "ANALYZE", "GRANT", "REVOKE", "PREPARE", "EXECUTE", "DEALLOCATE", "KILL", "DO",
        "XA",
    }
)  # fmt: skip
_SAME = {"WITH": "SELECT", "VALUES": "SELECT", "TABLE": "SELECT", "DESC": "DESCRIBE", "RELEASE": "SAVEPOINT"}
OTHER = "OTHER"


def _replaced(found: "re.Match[str]") -> str:
    kind = found.lastindex
    return "?" if kind is None else found[0] if kind == 1 else " "


@lru_cache(maxsize=256)
def summary(text: bytes, backslashes: bool) -> tuple[str, str]:
    """A statement's class and its digest."""
    plain = digest(text.decode("utf-8", "replace"), backslashes)
    return statement_class(plain), plain


def digest(text: str, backslashes: bool = True, longest: int = _LONGEST) -> str:
    """The statement with `?` for each literal, lists of them as one, without comments, in one line.

    text: of which the end may be missing: what is open there counts as a literal. What stands in double quotes counts
    as one too, whatever `sql_mode` says. backslashes: False where NO_BACKSLASH_ESCAPES holds. longest: letters of the
    result.
    """
    plain = (_STATEMENT if backslashes else _PLAIN_STATEMENT).sub(_replaced, text)
    if "-?" in plain or "+?" in plain:
        plain = _SIGNED.sub(r"\1?", plain)
    if "  " in plain:
        plain = _SPACES.sub(" ", plain)
    if ",?" in plain or ", ?" in plain:
        plain = _LIST.sub("(?)", plain)
    if ",(" in plain or ", (" in plain:
        plain = _LISTS.sub(r"\1", plain)
    plain = plain.strip(" ;\0")
    return plain if len(plain) <= longest else plain[: longest - 3] + "..."


def statement_class(statement: str) -> str:
    """The first word of a digest, one of some thirty; OTHER for what is none of them."""
    found = _WORD.match(statement)
    word = found[1].upper() if found else OTHER
    return word if word in _CLASSES else _SAME.get(word, OTHER)
