"""Command lines as they leave the host: bounded, and without their secrets.

Obvious ones only: values of options and variables whose names say so, passwords in addresses, and what follows the
few short options that are always passwords. A secret in a plain argument cannot be told from any other word.
"""

import re
from collections.abc import Iterator, Sequence

REDACTED = "***"
MAX_LENGTH = 4096
"""Characters of a command line that are kept."""

# The end of a name: `--db.password`, `dbPassword`, `PASSWORD2`; not `--password-file`, `--token-ttl`.
_SECRET = (
    r"(?:password|passwd|passphrase|pwd|pass|secret|token|credentials?|api[-_.]?key|access[-_.]?key|private[-_.]?key"
    r"|encryption[-_.]?key|auth[-_.]?key|authorization|bearer)\d{0,2}"
)
_ASSIGNED = re.compile(rf"({_SECRET}\s?[=:]\s?).+", re.IGNORECASE | re.DOTALL)
_OPTION = re.compile(rf"--?[-\w.]{{0,64}}{_SECRET}", re.IGNORECASE)
_ADDRESS = re.compile(r"(\w{1,16}://[^\s:/@]{0,128}):[^\s/@]{1,512}@")
_JOINED = dict.fromkeys(("mysql", "mysqldump", "mysqladmin", "mariadb", "mariadb-dump", "sshpass"), "-p")
_SEPARATE = {"redis-cli": "-a", "sshpass": "-p"}


def command_line(words: Sequence[str], *, redacted: bool) -> str:
    """The words with blanks between, at most `MAX_LENGTH` characters; if redacted, secrets are `***`."""
    return " ".join(redact(words) if redacted else _bounded(words))[:MAX_LENGTH]


def redact(words: Sequence[str]) -> Iterator[str]:
    """A command line's words, as many as fit in `MAX_LENGTH`, with obvious secrets replaced by `***`."""
    program = words[0].rsplit("/", 1)[-1] if words else ""
    joined, separate = _JOINED.get(program, "\0"), _SEPARATE.get(program)
    hidden = False
    for word in _bounded(words):
        if hidden and not word.startswith("-"):
            hidden = False
            yield REDACTED
            continue
        hidden = word == separate or bool(_OPTION.fullmatch(word))
        if word.startswith(joined) and word != joined:
            yield joined + REDACTED
        else:
            yield _ADDRESS.sub(rf"\1:{REDACTED}@", _ASSIGNED.sub(rf"\1{REDACTED}", word, count=1))


def _bounded(words: Sequence[str]) -> Iterator[str]:
    """As many as fit, the last one cut."""
    room = MAX_LENGTH
    for word in words:
        if room <= 0:
            return
        yield word[:room]
        room -= len(word) + 1
