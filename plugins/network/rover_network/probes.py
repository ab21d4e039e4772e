"""Where the network program is attached, and what is not measured where that cannot be."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from rover_bpf.attach import RawTracepoint, Tracepoint
from rover_bpf.plans import Attachment, Choice, Plan, attach
from rover_bpf.program import Program
from rover_core.errors import RoverError
from rover_network.calls import WITH_SENDER, beginning, ending

FUNCTIONS = dict.fromkeys(
    (
        "rover_on_enter",
        "rover_on_exit",
        "rover_on_datagram",
        "rover_on_sent",
        "rover_on_received",
        "rover_on_state",
        "rover_on_destroyed",
        "rover_on_retransmitted",
        "rover_on_synack",
        "rover_on_freed",
        "rover_on_freed_skb",
        "rover_on_queue_full",
    ),
    "RAW_TRACEPOINT",
) | dict.fromkeys(("rover_on_begin", "rover_on_end"), "TRACEPOINT")


@dataclass(frozen=True, slots=True)
class CallTracepoints:
    """One tracepoint for each of these system calls, where others cost nothing: syscalls:sys_<when>_<name>."""

    when: str
    names: tuple[str, ...]

    @property
    def label(self) -> str:
        return f"{len(self.names)} tracepoints syscalls:sys_{self.when}_*"

    def attach(self, function: int) -> list[int]:
        descriptors: list[int] = []
        try:
            for name in self.names:
                descriptors += Tracepoint("syscalls", f"sys_{self.when}_{name}").attach(function)
        except BaseException:
            for descriptor in descriptors:
                os.close(descriptor)
            raise
        return descriptors


def _raw(purpose: str, *choices: tuple[str, str]) -> Plan:
    return Plan(purpose, tuple(Choice(function, RawTracepoint(name)) for function, name in choices))


SENT = _raw("counting where messages are sent", ("rover_on_sent", "sock_send_length"))
RECEIVED = _raw("counting where messages are received", ("rover_on_received", "sock_recv_length"))


def _calls(purpose: str, when: str, names: tuple[str, ...], one: str, all_: str) -> Plan:
    tracepoints = Choice(one, CallTracepoints(when, names))
    return Plan(purpose, (tracepoints, Choice(all_, RawTracepoint(f"sys_{when}"))))


ENTRY = _calls("execution times", "enter", beginning(), "rover_on_begin", "rover_on_enter")
EXIT = _calls("connect, accept and close", "exit", ending(lengths=True), "rover_on_end", "rover_on_exit")
_EVERY_EXIT = _calls(EXIT.purpose, "exit", ending(lengths=False), "rover_on_end", "rover_on_exit")
# Layer 7 goes on where a message is seen, in programs of one type.
_CHAINED_EXIT = _raw(EXIT.purpose, ("rover_on_exit", "sys_exit"))
DATAGRAMS = Plan("senders of datagrams", (Choice("rover_on_end", CallTracepoints("exit", WITH_SENDER)),))
_CHAINED_DATAGRAMS = _raw(DATAGRAMS.purpose, ("rover_on_datagram", "sys_exit"))
DESTROYED = _raw("telling sockets at one address apart", ("rover_on_destroyed", "tcp_destroy_sock"))
OTHERS = (
    _raw("durations of non-blocking connects", ("rover_on_state", "inet_sock_set_state")),
    _raw("retransmitted segments", ("rover_on_retransmitted", "tcp_retransmit_skb")),
    _raw("retransmitted SYN-ACKs", ("rover_on_synack", "tcp_retransmit_synack")),
    _raw(
        "dropped packets",
        ("rover_on_freed", "kfree_skb"),  # says whose they were, since 6.11
        ("rover_on_freed_skb", "kfree_skb"),  # says why, since 5.17
        ("rover_on_queue_full", "sock_rcvqueue_full"),
    ),
)
RECEIVED_DROPS = "most drops of received packets"


@dataclass(frozen=True, slots=True)
class Probes:
    """What is attached. lengths: whether calls and bytes come from sock_*_length. missing: purpose -> why not."""

    attachments: Sequence[Attachment]
    lengths: bool
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What a person reads."""
        return ", ".join(dict.fromkeys(each.probe.label.removeprefix("raw tracepoint ") for each in self.attachments))

    @property
    def trace_datagrams(self) -> bool:
        """Whether the ends of calls that receive from anybody are looked at already."""
        return not self.lengths or "rover_on_exit" in {each.function for each in self.attachments}

    def detach(self) -> None:
        _detach(self.attachments)


def attach_datagrams(program: Program, chained: bool) -> Attachment:
    """Look at the ends of receiving calls, too. chained: layer 7 is read. Raises RoverError."""
    return attach(_CHAINED_DATAGRAMS if chained else DATAGRAMS, program)


def attach_probes(program: Program, without: Collection[Plan] = (), chained: bool = False) -> Probes:
    """Attach all that can be; those `without` are left out. chained: layer 7 is read.

    RoverError if nothing could be counted.
    """
    left_out = {plan.purpose for plan in without}
    missing: dict[str, str] = {}
    attached: list[Attachment] = []

    def take(*plans: Plan) -> bool:
        """All of them or none."""
        done: list[Attachment] = []
        for plan in plans:
            try:
                if plan.purpose in left_out:
                    raise RoverError(f"{plan.purpose} is left out", why="it is not wanted")
                done.append(attach(plan, program))
            except RoverError as error:
                missing[plan.purpose] = error.why
                _detach(done)
                return False
        attached.extend(done)
        return True

    try:
        for plan in (DESTROYED, *OTHERS):
            take(plan)
        lengths = take(SENT, RECEIVED)
        ends = EXIT if lengths else _CHAINED_EXIT if chained else _EVERY_EXIT
        calls = take(ends, ENTRY)
        if not lengths and not calls:
            reasons = "; ".join(missing.values())
            raise RoverError("network profiling is not possible here", why=reasons, remedy="see `rover doctor`")
    except BaseException:
        _detach(attached)
        raise
    if "rover_on_freed" not in {each.function for each in attached}:
        missing.setdefault(RECEIVED_DROPS, "before Linux 6.11 kfree_skb does not tell for which socket that was")
    if not lengths:  # the ends of system calls tell the same
        missing = {
            purpose: why for purpose, why in missing.items() if purpose not in (SENT.purpose, RECEIVED.purpose)
        }
    return Probes(attached, lengths, missing)


def _detach(attachments: Sequence[Attachment]) -> None:
    for each in attachments:
        each.detach()
