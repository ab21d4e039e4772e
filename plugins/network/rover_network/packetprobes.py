"""Where packets of sampled messages are counted (rover/details.h): attached only while messages are sampled."""

from collections.abc import Mapping

from rover_bpf.maps import BpfMap
from rover_bpf.plans import Attachment, Plan, attach
from rover_bpf.program import Program
from rover_core.errors import RoverError
from rover_core.logs import get_logger
from rover_network.calls import numbers
from rover_network.details import FUNCTIONS as NAMES
from rover_network.probes import raw

FUNCTIONS = dict.fromkeys(("rover_on_leaving", "rover_on_copied"), "RAW_TRACEPOINT")
MEMBERS = (
    ("sk_buff", "len"),
    ("sk_buff", "dev"),
    ("sk_buff", "head"),
    ("sk_buff", "data"),
    ("sk_buff", "network_header"),
    ("sk_buff", "skb_iif"),
    ("net_device", "ifindex"),
)
LEAVING = raw("packets of calls that send", ("rover_on_leaving", "net_dev_queue"))
COPIED = raw("packets of calls that receive", ("rover_on_copied", "skb_copy_datagram_iovec"))
log = get_logger("network")


class PacketProbes:
    """Of a loaded program. missing: purpose -> why it is not measured."""

    def __init__(self, program: Program, plans: tuple[Plan, ...] = (LEAVING, COPIED)) -> None:
        self._program = program
        self._plans = plans
        self._attached: list[Attachment] = []
        self.missing: Mapping[str, str] = {}
        functions = BpfMap(program.maps["rover_functions"], "<u4", "<u4")
        for place, name in enumerate(NAMES, 1):
            functions.update(numbers()[name], place)

    def attach(self) -> None:
        """What cannot be had is in `missing`; calls are then without their packets."""
        if self._attached or self.missing:
            return
        missing = {}
        for plan in self._plans:
            try:
                self._attached.append(attach(plan, self._program))
            except RoverError as error:
                missing[plan.purpose] = error.why
                log.warning("not measured", what=plan.purpose, reason=error.why)
        self.missing = missing

    def detach(self) -> None:
        self.missing = {}
        while self._attached:
            self._attached.pop().detach()
