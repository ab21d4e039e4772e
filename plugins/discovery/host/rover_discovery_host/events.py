"""The kernel's word that a process has begun, changed or ended: the process connector (drivers/connector/cn_proc.c).

A netlink socket; no eBPF. The kernel gives it to who has CAP_NET_ADMIN in the initial network, process and user name
spaces (since 6.6 also to who has not), if built with CONFIG_PROC_EVENTS, as the distributions' are. What comes is
taken as a hint which pids to look at, never as the truth: that is in /proc.
"""

import ctypes
import errno
import os
import select
import socket
import struct
from contextlib import suppress

_NETLINK_CONNECTOR = 11  # linux/netlink.h
_CN_IDX_PROC = _CN_VAL_PROC = 1  # linux/connector.h
_LISTEN, _IGNORE = 1, 2  # enum proc_cn_mcast_op
_NONE, _FORK, _EXEC, _UID, _COMM, _EXIT = 0, 1, 2, 4, 0x200, 0x80000000  # linux/cn_proc.h, enum proc_cn_event
# struct nlmsghdr, struct cn_msg, then struct proc_event: what, cpu, timestamp_ns, and what depends on `what`.
_REQUEST = struct.Struct("=IHHII IIIIHH I")
_WHAT, _ERROR = 36, 52
_PID, _TGID, _CHILD_PID, _CHILD_TGID = 52, 56, 60, 64
_NLMSG_DONE = 3
_SO_ATTACH_FILTER = 26
_ACK_WITHIN_MS = 500
_BUFFER = 1 << 20
_MAX_EVENTS = 8192  # of one reading; what is left announces itself again

# Classic BPF on the socket: only events of whole processes, not of their threads, come through.
_LOAD, _EQUAL, _EQUAL_X, _TO_X, _RETURN = 0x20, 0x15, 0x1D, 0x07, 0x06  # linux/bpf_common.h
_FILTER = (
    (_LOAD, 0, 0, _WHAT),
    (_EQUAL, 8, 0, socket.htonl(_FORK)),
    (_EQUAL, 11, 0, socket.htonl(_EXEC)),
    (_EQUAL, 2, 0, socket.htonl(_EXIT)),
    (_EQUAL, 1, 0, socket.htonl(_COMM)),
    (_EQUAL, 0, 9, socket.htonl(_UID)),
    *((_LOAD, 0, 0, _PID), (_TO_X, 0, 0, 0), (_LOAD, 0, 0, _TGID), (_EQUAL_X, 4, 5, 0)),
    *((_LOAD, 0, 0, _CHILD_PID), (_TO_X, 0, 0, 0), (_LOAD, 0, 0, _CHILD_TGID), (_EQUAL_X, 0, 1, 0)),
    (_RETURN, 0, 0, 0xFFFF),  # all of it
    (_RETURN, 0, 0, 0),  # nothing
)


class ProcessEvents:
    """Announces processes that begin, execute another program, are renamed, change their user, or end.

    Raises OSError, with a reason for people, where the kernel does not give its word.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, _NETLINK_CONNECTOR)
        try:
            with suppress(OSError):  # beyond net.core.rmem_max for those who may
                self._socket.setsockopt(socket.SOL_SOCKET, 33, _BUFFER)  # SO_RCVBUFFORCE
            self._socket.bind((0, _CN_IDX_PROC))
            self._ask(_LISTEN)
            self._await_acknowledgement()
            self._attach_filter()
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Readable when there is something to `read`."""
        return self._socket.fileno()

    def read(self) -> set[int] | None:
        """Pids to look at since the last reading; None if some were missed, so that all have to be looked at."""
        pids: set[int] = set()
        lost = False
        for _ in range(_MAX_EVENTS):
            try:
                event = self._socket.recv(256)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # the buffer was full
                    raise
                lost = True
                continue
            if len(event) > _CHILD_TGID + 4:
                (what,) = struct.unpack_from("=I", event, _WHAT)
                pids.add(struct.unpack_from("=I", event, _CHILD_TGID if what == _FORK else _TGID)[0])
        return None if lost else pids

    def close(self) -> None:
        """Kernels before 6.6 count listeners and do not see one go."""
        with suppress(OSError):
            self._ask(_IGNORE)
        self._socket.close()

    def _ask(self, operation: int) -> None:
        port = self._socket.getsockname()[0]
        header = (_REQUEST.size, _NLMSG_DONE, 0, 0, port)
        self._socket.send(_REQUEST.pack(*header, _CN_IDX_PROC, _CN_VAL_PROC, 0, 0, 4, 0, operation))

    def _await_acknowledgement(self) -> None:
        """From another name space than the initial ones there is no answer at all."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while poll.poll(_ACK_WITHIN_MS):
            answer = self._socket.recv(256)
            if len(answer) >= _ERROR + 4 and struct.unpack_from("=I", answer, _WHAT)[0] == _NONE:
                (code,) = struct.unpack_from("=I", answer, _ERROR)
                if code:
                    raise OSError(code, os.strerror(code))
                return
        raise OSError(errno.ENOTSUP, "not in the initial process and user name spaces")

    def _attach_filter(self) -> None:
        code = b"".join(struct.pack("=HBBI", *instruction) for instruction in _FILTER)
        program = ctypes.create_string_buffer(code, len(code))
        order = struct.pack("@HP", len(_FILTER), ctypes.addressof(program))  # struct sock_fprog
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, order)
