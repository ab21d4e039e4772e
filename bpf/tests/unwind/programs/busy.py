"""Deep recursion, regular expressions, callbacks out of C, for ever."""

import json
import re


def deep(n: int) -> None:
    if n:
        deep(n - 1)
        return
    re.match(r"(a+)+b", "a" * 12)
    sorted(range(200), key=lambda number: -number)
    json.loads(json.dumps(list(range(50))))


print("ready", flush=True)
while True:
    deep(30)
