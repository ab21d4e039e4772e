"""Protocols' classifiers as functions, without a kernel: by the C compiler of this machine."""

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path

from rover_core.api import CLASSIFY_BYTES, WireProtocol
from rover_core.errors import RoverError

Classify = Callable[[bytes], int]


def compiled(protocol: WireProtocol, folder: Path) -> Classify:
    """What the classifier says of a call's first bytes: 0 not this protocol, 1 a request, 2 a response.

    folder: for what is compiled, by `cc` with warnings as errors. RoverError if that fails.
    """
    name = f"{protocol.name}_classify"
    source = folder / f"{name}.c"
    source.write_text(
        f'#include "{protocol.classifier}"\n'
        f"int classify(const unsigned char *head, unsigned int size) {{ return {name}(head, size); }}\n"
    )
    library = folder / f"{name}.so"
    command = ["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(library), str(source)]
    try:
        subprocess.run(command, check=True, timeout=60, capture_output=True, text=True)
    except FileNotFoundError as error:
        why, remedy = "there is no C compiler", "apt-get install gcc"
        raise RoverError(f"the classifier of {protocol.name} cannot be tried", why=why, remedy=remedy) from error
    except subprocess.CalledProcessError as error:
        why = error.stderr.strip() or f"the compiler ended with {error.returncode}"
        raise RoverError(f"the classifier of {protocol.name} does not compile", why=why) from error
    function = ctypes.CDLL(str(library)).classify

    def classify(data: bytes) -> int:
        head = data[:CLASSIFY_BYTES]
        return int(function(head.ljust(CLASSIFY_BYTES, b"\0"), len(head)))

    return classify
