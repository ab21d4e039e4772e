"""A process gives up all it may do but compute, and talk over what is open. Standard library only."""

import contextlib
import ctypes
import os
import platform
import resource
import signal
import struct

NOBODY = 65_534
# include/uapi/linux/prctl.h, capability.h, seccomp.h, filter.h, audit.h
_SET_PDEATHSIG, _SET_DUMPABLE, _SET_SECCOMP, _CAPBSET_DROP, _SET_NO_NEW_PRIVS, _CAP_AMBIENT = 1, 4, 22, 24, 38, 47
_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_SECCOMP_MODE_FILTER = 2
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 1  # SECCOMP_RET_ERRNO | EPERM
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
# read, write, close, mmap, mprotect, munmap, brk, rt_sigaction, rt_sigprocmask, rt_sigreturn, mremap, madvise,
# nanosleep, getpid, sendto, recvfrom, sendmsg, recvmsg, exit, futex, restart_syscall, clock_gettime, clock_nanosleep,
# exit_group, ppoll, getrandom, sched_yield, poll
_CALLS = {
    "x86_64": (
        0xC000003E,
        *(0, 1, 3, 9, 10, 11, 12, 13, 14, 15, 25, 28, 35, 39, 44, 45, 46, 47, 60, 202, 219, 228, 230, 231),
        *(271, 318, 24, 7),
    ),
    "aarch64": (
        0xC00000B7,
        *(63, 64, 57, 222, 226, 215, 214, 134, 135, 139, 216, 233, 101, 172, 206, 207, 211, 212, 93, 98, 128, 113),
        *(115, 94, 73, 278, 124),
    ),
}
_libc = ctypes.CDLL(None, use_errno=True)


def confine(memory: int) -> None:
    """For good. Imports, files and new descriptors are out of reach from then on.

    memory: bytes it may map from now on. Raises OSError where the kernel refuses what it refuses nobody; that it may
    not change its user is no error, since who may not is nobody special.
    """
    _limit(memory)
    for capability in range(64):
        _prctl(_CAPBSET_DROP, capability, tolerant=True)
    with contextlib.suppress(PermissionError):
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    _prctl(_CAP_AMBIENT, _CAP_AMBIENT_CLEAR_ALL, tolerant=True)
    _drop_capabilities()
    _prctl(_SET_DUMPABLE, 0)
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)  # only now: a change of user clears it
    _prctl(_SET_NO_NEW_PRIVS, 1)
    _filter_calls()


def _limit(memory: int) -> None:
    pages = int(open("/proc/self/statm").read().split()[0])  # noqa: SIM115 - at once closed by its count
    room = pages * resource.getpagesize() + memory
    for what, most in (
        (resource.RLIMIT_AS, room),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        _, hard = resource.getrlimit(what)
        if hard == resource.RLIM_INFINITY or hard > most:
            resource.setrlimit(what, (most, most))


def _prctl(option: int, *arguments: int, tolerant: bool = False) -> None:
    words = [ctypes.c_ulong(each) for each in (*arguments, 0, 0, 0, 0)][:4]
    if _libc.prctl(ctypes.c_int(option), *words) != 0 and not tolerant:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), f"prctl {option}")


def _drop_capabilities() -> None:
    head = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), 8)
    if _libc.capset(head, ctypes.create_string_buffer(24)) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), "capset")


def _filter_calls() -> None:
    """What is not in the list fails with EPERM; on other machines nothing is filtered."""
    if platform.machine() not in _CALLS:
        return
    architecture, *numbers = _CALLS[platform.machine()]
    count = len(numbers)
    program = [(_LOAD, 0, 0, 4), (_EQUAL, 0, count + 1, architecture), (_LOAD, 0, 0, 0)]  # seccomp_data.arch, .nr
    program += [(_EQUAL, count - at, 0, number) for at, number in enumerate(numbers)]
    program += [(_RETURN, 0, 0, _REFUSE), (_RETURN, 0, 0, _ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in program))
    whole = ctypes.create_string_buffer(struct.pack("=HxxxxxxQ", len(program), ctypes.addressof(code)))
    _prctl(_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(whole))
