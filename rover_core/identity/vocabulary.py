"""What every discovery plugin's expressions may read: `.Rover` and `.Process` (contract section 3.2)."""

import os
from collections.abc import Mapping
from functools import cache

from rover_core.expressions import Member
from rover_core.identity.agent import agent_id, host_ip, host_ipv4, host_ipv6, host_name
from rover_core.identity.redaction import command_line
from rover_core.logs import get_logger
from rover_core.model import Process
from rover_core.procfs import proc_root

log = get_logger("identity")

_MAX_COMM = 15  # the kernel's TASK_COMM_LEN without its NUL


def exe_name(process: Process) -> str:
    """The kernel's name of a process; where that is cut, the base name of its first word, or the word itself if it
    does not continue the name (contract section 3.2)."""
    if len(process.comm.encode()) < _MAX_COMM or not process.cmdline:
        return process.comm
    base = process.cmdline[0].rsplit("/", 1)[-1]
    return base if base.startswith(process.comm) else process.cmdline[0]


def _working_directory(process: Process) -> str:
    try:
        return os.readlink(f"{proc_root()}/{process.pid}/cwd")
    except OSError:
        return ""


@cache
def _address(version: int, interface: str) -> str:
    """As it was when it was asked for first: a name that changed with the address would be another instance."""
    address = host_ipv4(interface) if version == 4 else host_ipv6(interface)
    if address:
        return address
    instead = host_ip() or host_name()
    log.warning("no such address", interface=interface, version=version, used_instead=instead)
    return instead


ROVER: Mapping[str, Member] = {
    "InstanceID": Member(lambda _: agent_id()),
    "HostIPV4": Member(lambda _, interface: _address(4, interface), (str,)),
    "HostIPV6": Member(lambda _, interface: _address(6, interface), (str,)),
    "HostName": Member(lambda _: host_name()),
}
"""Its subject may be anything. A host without such an interface has its first address, with a warning."""


def process_vocabulary(*, redacted: bool) -> Mapping[str, Member]:
    """The subject is a `Process`. redacted: whether secrets in its command line are."""
    return {
        "ExeFilePath": Member(lambda process: process.exe or ""),
        "ExeName": Member(exe_name),
        "CommandLine": Member(lambda process: command_line(process.cmdline, redacted=redacted)),
        "Pid": Member(lambda process: process.pid),
        "WorkDir": Member(_working_directory),
        "ExeNameInCommandLine": Member(lambda process: process.cmdline[0] if process.cmdline else ""),
    }
