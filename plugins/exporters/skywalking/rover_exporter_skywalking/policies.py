"""Policies of continuous profiling as the backend writes them (contract section 2.2). No network here."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rover_core.errors import RoverError
from rover_core.logs import get_logger
from rover_core.patterns import compile_pattern
from rover_core.policies import Monitor, Threshold, Uri
from rover_exporter_skywalking.protocol.common_pb2 import Commands

log = get_logger("skywalking")

COMMAND = "ContinuousProfilingPolicyQuery"
_TARGETS = ("ON_CPU", "OFF_CPU", "NETWORK")
_MOST_URIS = 100
_MOST_SERVICES = 10_000


@dataclass(frozen=True, slots=True)
class ServicePolicy:
    """service: as the backend names it. uuid: of this version, "" if the service has no policy any more."""

    service: str
    uuid: str
    thresholds: Mapping[str, tuple[Threshold, ...]]


def read_policies(commands: Commands) -> list[ServicePolicy]:
    """A reply: what has changed. What cannot be understood of it is left out, with a warning each.

    Raises ValueError for a reply that is none.
    """
    if not commands.commands:
        return []
    if len(commands.commands) > 1 or commands.commands[0].command != COMMAND:
        raise ValueError(
            f"expected one command {COMMAND}, not {[each.command[:60] for each in commands.commands][:3]}"
        )
    text = next((pair.value for pair in commands.commands[0].args if pair.key == "ServiceWithPolicyJSON"), "")
    try:
        services = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"ServiceWithPolicyJSON is not JSON: {error}") from None
    if not isinstance(services, list) or len(services) > _MOST_SERVICES:
        raise ValueError(f"ServiceWithPolicyJSON is not a list of up to {_MOST_SERVICES} services")
    return list(_readable(services))


def _readable(services: Sequence[Any]) -> Iterator[ServicePolicy]:
    for service in services:
        try:
            yield _service(service)
        except ValueError as error:
            log.warning("policy skipped", reason=str(error))


def _service(service: Any) -> ServicePolicy:
    if not isinstance(service, dict) or not isinstance(service.get("ServiceName"), str):
        raise ValueError(f"{str(service)[:60]!r} is no policy of a service")
    name, uuid = service["ServiceName"], service.get("UUID") or ""
    if not isinstance(uuid, str):
        raise ValueError(f"the UUID of {name[:60]!r} is no text")
    profiling = _map(service.get("Profiling"), f"Profiling of {name[:60]!r}") if uuid else {}
    thresholds = {
        target: tuple(_checks(name, target, _map(checks, target)))
        for target, checks in profiling.items()
        if _known(name, target, _TARGETS)
    }
    return ServicePolicy(name, uuid, thresholds)


def _checks(service: str, target: str, checks: Mapping[str, Any]) -> Iterator[Threshold]:
    for kind, item in checks.items():
        if not _known(service, kind, tuple(Monitor)):
            continue
        try:
            yield _threshold(Monitor(kind), _map(item, kind))
        except (ValueError, RoverError) as error:
            log.warning("check skipped", service=service[:60], target=target, check=kind, reason=str(error))


def _known(service: str, name: str, names: Sequence[str]) -> bool:
    if name not in names:
        log.warning("check skipped", service=service[:60], reason=f"{name[:60]!r} is none of {', '.join(names)}")
    return name in names


def _threshold(monitor: Monitor, item: Mapping[str, Any]) -> Threshold:
    text = item.get("Threshold")
    if not isinstance(text, str):
        raise ValueError(f"Threshold is {str(text)[:40]!r}, not text")
    uris = _uris(item) if monitor.of_requests else ()
    return Threshold(monitor, float(text), _whole(item, "Period"), _whole(item, "Count"), uris)


def _uris(item: Mapping[str, Any]) -> tuple[Uri, ...]:
    paths, regex = item.get("URIList") or [], item.get("URIRegex") or ""
    if not isinstance(paths, list) or len(paths) > _MOST_URIS or not all(isinstance(path, str) for path in paths):
        raise ValueError(f"URIList is not a list of up to {_MOST_URIS} paths")
    if paths:
        return tuple(Uri(path=path) for path in dict.fromkeys(paths))
    if not isinstance(regex, str):
        raise ValueError(f"URIRegex is {str(regex)[:40]!r}, not text")
    if regex:
        compile_pattern(regex, "URIRegex")
    return (Uri(regex=regex),)


def _map(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {str(value)[:40]!r}, not a map")
    return value


def _whole(item: Mapping[str, Any], name: str) -> int:
    value = item.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name} is {str(value)[:40]!r}, not a whole number")
    return value
