"""Where the network program is attached, and what is not measured where that cannot be."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from rover_bpf.attach import RawTracepoint
from rover_bpf.plans import Attachment, Choice, Plan, attach
from rover_bpf.program import Program
from rover_core.errors import RoverError

FUNCTIONS = dict.fromkeys(
    (
        "rover_on_enter",
        "rover_on_exit",
        "rover_on_sent",
        "rover_on_received",
        "rover_on_state",
        "rover_on_destroyed",
        "rover_on_retransmitted",
        "rover_on_synack",
        "rover_on_freed",
        "rover_on_freed_skb",
        "rover_on_queue_full",
        "rover_on_each",
    ),
    "RAW_TRACEPOINT",
)


def raw(purpose: str, *choices: tuple[str, str]) -> Plan:
    """A plan of raw tracepoints: (function, tracepoint), best first."""
    return Plan(purpose, tuple(Choice(function, RawTracepoint(name)) for function, name in choices))


SENT = raw("counting where messages are sent", ("rover_on_sent", "sock_send_length"))
RECEIVED = raw("counting where messages are received", ("rover_on_received", "sock_recv_length"))


ENTRY = raw("execution times", ("rover_on_enter", "sys_enter"))
EXIT = raw("connect, accept and close", ("rover_on_exit", "sys_exit"))
DESTROYED = raw("telling sockets at one address apart", ("rover_on_destroyed", "tcp_destroy_sock"))
OTHERS = (
    raw("durations of non-blocking connects", ("rover_on_state", "inet_sock_set_state")),
    raw("retransmitted segments", ("rover_on_retransmitted", "tcp_retransmit_skb")),
    raw("retransmitted SYN-ACKs", ("rover_on_synack", "tcp_retransmit_synack")),
    raw(
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

    def detach(self) -> None:
        _detach(self.attachments)


def attach_probes(program: Program, without: Collection[Plan] = ()) -> Probes:
    """Attach all that can be; those `without` are left out. RoverError if nothing could be counted."""
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
        calls = take(EXIT, ENTRY)
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
