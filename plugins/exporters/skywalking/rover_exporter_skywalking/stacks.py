"""Numbers for stacks, the same for as long as a task runs."""

import hashlib
from collections.abc import Sequence

_MOST = 100_000  # 10 MB; one that comes back after that many others gets a new number, which does no harm


class StackIds:
    """Stack to id, 1..2^31-1. No two stacks of a task share one, be they the kernel's or the user's.

    The backend joins what has equal ids, so they may not be hashes of 31 bits: of ten thousand stacks, two would meet
    in one task of fifty.
    """

    def __init__(self) -> None:
        self._ids: dict[bytes, int] = {}
        self._last = 0

    def __getitem__(self, stack: tuple[bool, Sequence[str]]) -> int:
        """The id of (is the kernel's, symbols)."""
        kernel, symbols = stack
        text = "\0".join(symbols).encode(errors="surrogatepass")
        digest = hashlib.blake2b(text, digest_size=16, person=b"kernel" if kernel else b"user").digest()
        found = self._ids.get(digest)
        if found is None:
            self._last = found = self._last + 1
            self._ids[digest] = found
            if len(self._ids) > _MOST:
                del self._ids[next(iter(self._ids))]
        return found
