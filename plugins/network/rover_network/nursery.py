"""Where workers come from: a process that has imported all that they need, and forks one when the agent asks for it.

`python -P -m rover_network.nursery PLAN`, run by workerprocess.py, with the plan in JSON and the socket that it names
inherited. So workers begin at once and share most of their memory. It keeps its privileges, and therefore sees
nothing that strangers sent; workers are ended here, by their parent, where a pid cannot be another's meanwhile.
"""

import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any

from rover_network.worker import learn, name_process, work

MESSAGE = 1 << 12
"""Bytes of the agent's longest: either what `work` is to be told, with its descriptors, or the pid that is to end."""


def main(plan: dict[str, Any]) -> None:
    """Until the agent closes its end; all workers end with this process."""
    control = socket.socket(fileno=plan["control"])
    spoken = learn(plan["protocols"])
    name_process("rover-nursery")
    gc.collect()
    gc.freeze()  # or the first collection in each worker copies all of it
    while True:
        body, descriptors, _, _ = socket.recv_fds(control, MESSAGE, 3)
        if not body:
            return
        message = json.loads(body)
        answer = _end(message["end"]) if "end" in message else os.fork()
        if answer == 0 and descriptors:
            control.close()
            work({**plan, **message, **_named(descriptors)}, spoken)
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)
        control.send(str(answer).encode())


def _named(descriptors: Sequence[int]) -> dict[str, int]:
    return dict(zip(("channel", "source", "recording"), descriptors, strict=False))


def _end(pid: int) -> int:
    """Its exit code; negative: the signal that ended it."""
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
