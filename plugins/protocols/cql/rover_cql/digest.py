"""Statements without their values: what a statement does, as tables are drawn by."""

import re
from functools import lru_cache

_LONGEST = 512
# Each alternative can fail only before it is long, so that the search never goes back.
_TOKENS = re.compile(
    r"""
    '[^']*(?:''[^']*)*(?:'|\Z)
  | \$\$.*?(?:\$\$|\Z)
  | ("[^"]*(?:""[^"]*)*(?:"|\Z))
  | (?<![\w$])[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f-]*
  | (?<![\w$])[0-9][\w.]*(?:(?<=[eE])[+-][0-9]+)?
  | (?<![\w$.])(?:P[0-9][\w:.-]*|(?:[tT][rR][uU][eE]|[fF][aA][lL][sS][eE]|NaN|Infinity)\b)
  | (/\*.*?(?:\*/|\Z) | --[^\n]* | //[^\n]* | [\t\n\r\f\v]\s* | [ ]\s+)
""",
    re.VERBOSE | re.DOTALL,
)
_SIGNED = re.compile(r"([=(,<>:\[{+-] ?)[-+]\?")
_SPACES = re.compile(r"  +")
_ENTRIES = re.compile(r"\? ?: ?\?")
_LIST = re.compile(r"([(\[{]) ?\?(?: ?, ?\?)* ?([)\]}])")
_LISTS = re.compile(r"(\( ?\? ?\)|\[\?\]|\{\?\})(?: ?, ?\1)+")
_CUT_WORD = re.compile(r"[^\s'\"$(),;=<>\[\]{}]{1,64}\Z")
_WORD = re.compile(r"[( ]*([A-Za-z]+)")
_DEPTH = 3

_CLASSES = frozenset(
    {
        "SELECT", "INSERT", "UPDATE", "DELETE", "BATCH", "USE", "CREATE", "ALTER", "DROP", "TRUNCATE", "GRANT",
        "REVOKE", "LIST", "DESCRIBE",
    }
)  # fmt: skip
_SAME = {"BEGIN": "BATCH", "DESC": "DESCRIBE"}
OTHER = "OTHER"


def _replaced(found: "re.Match[str]") -> str:
    kind = found.lastindex
    return "?" if kind is None else found[0] if kind == 1 else " "


def digest(text: str, cut: bool = False) -> str:
    """The statement with `?` for each literal, collections of them as one, no comments, in a line of 512 letters.

    text: in which names stand in double quotes, as CQL has it. cut: its end is missing, and its last word with it.
    """
    if cut:
        text = _CUT_WORD.sub("", text)
    plain = _TOKENS.sub(_replaced, text)
    if "-?" in plain or "+?" in plain:
        plain = _SIGNED.sub(r"\1?", plain)
    if "  " in plain:
        plain = _SPACES.sub(" ", plain)
    plain = _without_lists(plain).strip(" ;\0")
    return plain if len(plain) <= _LONGEST else plain[: _LONGEST - 3] + "..."


def _without_lists(plain: str) -> str:
    """`(?)` for lists, `{?}` for sets and maps, as deep as they are used."""
    for _ in range(_DEPTH):
        before = plain
        plain = _LISTS.sub(r"\1", _LIST.sub(r"\1?\2", _ENTRIES.sub("?", plain)))
        if plain == before:
            break
        plain = re.sub(r"(?<=[:,\[{(]) ?(?:\[\?\]|\{\?\})(?= ?[,:\]})])", "?", plain)
    return plain


@lru_cache(maxsize=256)
def statement_class(statement: str) -> str:
    """The first word of a digest, one of some fourteen; OTHER for what is none of them."""
    found = _WORD.match(statement)
    word = found[1].upper() if found else OTHER
    return word if word in _CLASSES else _SAME.get(word, OTHER)
