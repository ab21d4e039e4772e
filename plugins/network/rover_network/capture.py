"""The kernel's half of layer 7: classifiers, capture policies and rings of a loaded network program."""

import itertools
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rover_bpf.maps import BpfMap
from rover_bpf.program import MapInfo, Program
from rover_bpf.ring import make_ring
from rover_bpf.source import Extension, Function
from rover_core.api import WireProtocol
from rover_core.wire import CaptureMode
from rover_network.fastpath import FastMaps
from rover_network.feeds import RingFeed
from rover_network.packetprobes import PacketProbes

FUNCTIONS = dict.fromkeys(
    ("rover_on_ask", "rover_on_want", "rover_on_ship", "rover_on_runs", "rover_on_cipher"), "RAW_TRACEPOINT"
)
"""In the order of enum rover_slot."""
EACH = "rover_on_each"
"""What layer 4 has a use for, too; in the chain behind the others, and behind the classifiers."""
EACH_SLOT = len(FUNCTIONS)
CLASSIFIERS = EACH_SLOT + 1
"""The slot of the first."""
TLS_FUNCTIONS = dict.fromkeys(
    ("rover_tls_on_ask", "rover_tls_on_want", "rover_tls_on_ship", "rover_tls_on_runs"), "UPROBE"
)
"""The same in the chain of uprobes, which have no use for the last."""
_CLASSIFIER, _FAST, _SELECTOR = (
    Path(__file__).with_name(name) for name in ("classifier.bpf.c", "fast.bpf.c", "selector.bpf.c")
)
_FAST_SLOT = 22  # ROVER_FAST
_SELECT_SLOT = 38  # ROVER_SELECT_
_MODES = (CaptureMode.CALLS, CaptureMode.MESSAGES, CaptureMode.ALL, CaptureMode.FRAMES)
_NOTHING = (len(_MODES), 0, (0, 0), 0)  # as a policy: it is recognised, and not shipped
_POLICY = np.dtype([("mode", "<u4"), ("datagrams", "<u4"), ("wanted", "<u8", (2,)), ("content", "<u8")])
MOST_PROTOCOLS = 16
MOST_RINGS = 64


@dataclass(frozen=True, slots=True)
class Layer7:
    """What is to be captured. rings: one for each worker; ring_bytes: of each. fast_path: count what can be counted
    in the kernel, and capture the rest.
    """

    protocols: Sequence[WireProtocol] = ()
    rings: int = 2
    ring_bytes: int = 400 << 10
    fast_path: bool = True

    @property
    def fast(self) -> Sequence[WireProtocol]:
        """Those that have a fast path."""
        return [each for each in self.protocols if self.fast_path and each.fast and not each.metrics]


NOTHING = Layer7()


def extensions(layer7: Layer7) -> tuple[Extension, ...]:
    """The classifiers, selectors and fast paths, as programs to be loaded beside the network program."""
    return (*_readers(layer7.protocols), *_fast_paths(layer7))


def _readers(protocols: Sequence[WireProtocol]) -> tuple[Extension, ...]:
    classifiers = [_classifier(number, protocol) for number, protocol in enumerate(protocols, 1)]
    return (*classifiers, *itertools.chain.from_iterable(map(_selector, protocols)))


def _classifier(number: int, protocol: WireProtocol) -> Extension:
    function = f"rover_on_{protocol.name}"
    defines = {
        "ROVER_CLASSIFIER": f'"{protocol.classifier}"',
        "ROVER_CLASSIFY": f"{protocol.name}_classify",
        "ROVER_ON_CLASSIFY": function,
        "ROVER_PROTOCOL": str(number),
    }
    folders = (protocol.classifier.parent,)
    return Extension(_CLASSIFIER, _both(_name(protocol), function), defines, folders, repeatable=True)


def _selector(protocol: WireProtocol) -> Iterator[Extension]:
    selector = protocol.selector
    if selector is not None:
        defines = {
            "ROVER_SELECTOR": f'"{selector.name}"',
            "ROVER_SELECT": f"{protocol.name}_select",
            "ROVER_SELECT_HEAD": f"{protocol.name.upper()}_SELECT_HEAD",
        }
        yield Extension(_SELECTOR, _both(_selector_name(protocol), "rover_on_select"), defines, (selector.parent,))


def _both(name: str, function: str) -> dict[str, Function]:
    """A function as programs of the two chains of rover/call.h."""
    return {
        name: Function(function, "RAW_TRACEPOINT"),
        _over_tls(name): Function(function, "UPROBE", {"rover_slots": "rover_tls_slots"}),
    }


def _selector_name(protocol: WireProtocol) -> str:
    return f"selector {protocol.name}"


def _fast_paths(layer7: Layer7) -> Iterator[Extension]:
    for number, protocol in enumerate(layer7.protocols, 1):
        if protocol in layer7.fast and (fast := protocol.fast):
            defines = {
                "ROVER_JUDGE": f'"{fast.judge.name}"',
                "ROVER_JUDGE_REQUEST": f"{protocol.name}_request",
                "ROVER_JUDGE_RESPONSE": f"{protocol.name}_response",
                "ROVER_PROTOCOL": str(number),
            }
            yield Extension(_FAST, _both(_fast(protocol), "rover_on_fast"), defines, (fast.judge.parent,))


def _name(protocol: WireProtocol) -> str:
    return f"classifier {protocol.name}"


def _fast(protocol: WireProtocol) -> str:
    return f"fast path {protocol.name}"


def _over_tls(name: str) -> str:
    return f"{name} of plain text"


def _refused(program: Program, labels: Mapping[str, str]) -> dict[str, str]:
    """Of programs, by name, with what the user knows them as: those that are missing, and why."""
    names = {**labels, **{_over_tls(name): _over_tls(name) for name in labels}}
    return {label: program.errors[name] for name, label in names.items() if name in program.errors}


def _fill(
    program: Program,
    table: str,
    functions: Iterable[str],
    protocols: Sequence[WireProtocol],
    called: Callable[[str], str],
) -> None:
    """Put a chain's programs where the kernel looks for them. called: what those of protocols are in this chain."""
    classifiers = [called(_name(each)) for each in protocols]
    usable = [name for name in classifiers if name in program.functions]
    chain = dict(enumerate(functions))
    chain |= enumerate((*usable, called(EACH)), CLASSIFIERS)
    for number, protocol in enumerate(protocols, 1):
        chain[_FAST_SLOT + number] = called(_fast(protocol))
        chain[_SELECT_SLOT + number] = called(_selector_name(protocol))
    _put(program, table, chain)


def _put(program: Program, table: str, chain: Mapping[int, str]) -> None:
    slots = BpfMap(program.maps[table], "<u4", "<u4")
    for slot, name in chain.items():
        if name in program.functions:
            slots.update(slot, program.functions[name])


class CaptureMaps:
    """Rings made and slots filled. The kernel's numbers of protocols are their places in `protocols`, from 1 on.

    missing: name of a protocol that is not recognised here -> why; of one that is, but not over TLS, its program's
    name -> why. slow: of one whose fast path the kernel does not take -> why, in the same way.
    """

    def __init__(self, program: Program, layer7: Layer7) -> None:
        self.missing: Mapping[str, str] = {
            **_refused(program, {_name(each): each.name for each in layer7.protocols}),
            **_refused(program, {name: name for name in (*FUNCTIONS, *TLS_FUNCTIONS) if layer7.protocols}),
        }
        self.slow: Mapping[str, str] = _refused(program, {_fast(each): each.name for each in layer7.fast})
        usable = [each for each in layer7.protocols if _name(each) in program.functions]
        if any(name not in program.functions for name in FUNCTIONS):
            usable = []
        self.active = len(usable)
        self.rings: list[MapInfo] = []
        self.fast: FastMaps | None = None
        _put(program, "rover_slots", {EACH_SLOT: EACH})
        if not usable:
            return
        for number in range(layer7.rings):
            self.rings.append(make_ring(layer7.ring_bytes))
            BpfMap(program.maps["rover_rings"], "<u4", "<u4").update(number, self.rings[-1].fd)
        self._policies = BpfMap(program.maps["rover_policies"], "<u4", _POLICY)
        self._protocols = layer7.protocols
        self._content, self._only = 0, frozenset(each.name for each in layer7.protocols)
        self._packets = PacketProbes(program)
        self._set_policies()
        _fill(program, "rover_slots", FUNCTIONS, layer7.protocols, str)
        _fill(program, "rover_tls_slots", TLS_FUNCTIONS, layer7.protocols, _over_tls)
        if any(_fast(each) in program.functions for each in layer7.protocols):
            self.fast = FastMaps(program)
        self._shipped = BpfMap(program.maps["rover_shipped"], "<u4", "<u8")

    @property
    def unmeasured(self) -> Mapping[str, str]:
        """Purpose -> why not, of what is measured while messages are sampled."""
        return self._packets.missing if self.active else {}

    @property
    def feeds(self) -> Sequence[RingFeed]:
        """For workers, one each."""
        return [RingFeed(ring) for ring in self.rings]

    def capture_content(self, size: int) -> None:
        """Ship so many first bytes of each message from now on, where the protocol's policy says less."""
        if self.active:
            if size:
                self._packets.attach()
            self._content = size
            self._set_policies()
            if not size:
                self._packets.detach()

    def capture_only(self, names: Collection[str] | None) -> None:
        """Ship nothing of other protocols than these from now on; None for all."""
        if self.active:
            self._only = frozenset(each.name for each in self._protocols) if names is None else frozenset(names)
            self._set_policies()

    def _set_policies(self) -> None:
        self._policies.update(0, (*_NOTHING[:3], self._content))  # of connections whose protocol is not known yet
        for number, protocol in enumerate(self._protocols, 1):
            policy = _policy(protocol, self._content) if protocol.name in self._only else _NOTHING
            self._policies.update(number, policy)

    def close(self) -> None:
        if self.active:
            self._packets.detach()
        for ring in self.rings:
            os.close(ring.fd)
        self.rings = []

    def shipped(self) -> list[int]:
        """Records put into each ring since the start."""
        if not self.rings:
            return []
        _, values = self._shipped.read()
        return values.reshape(MOST_RINGS, -1).sum(axis=1)[: len(self.rings)].tolist()  # type: ignore[no-any-return]


def _policy(protocol: WireProtocol, content: int) -> tuple[int, int, tuple[int, int], int]:
    capture = protocol.capture
    datagrams = int(protocol.datagrams is not None)
    return _MODES.index(capture.mode), datagrams, (capture.client, capture.server), content
