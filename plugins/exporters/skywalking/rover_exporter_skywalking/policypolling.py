"""Asks the backend for policies of continuous profiling (contract section 3.6)."""

import asyncio
from collections.abc import Iterable, Sequence

from rover_core.api import AgentContext
from rover_core.logs import get_logger
from rover_core.model import Process
from rover_core.policies import Policy
from rover_exporter_skywalking.backoff import Backoff
from rover_exporter_skywalking.connection import BackendError, Connection
from rover_exporter_skywalking.naming import clean, in_cluster
from rover_exporter_skywalking.policies import ServicePolicy, read_policies
from rover_exporter_skywalking.processes import ProcessBook
from rover_exporter_skywalking.protocol.common_pb2 import Commands
from rover_exporter_skywalking.protocol.continuous_pb2 import (
    ContinuousProfilingPolicyQuery,
    ContinuousProfilingServicePolicyQuery,
)
from rover_exporter_skywalking.rpc import QUERY_POLICIES

log = get_logger("skywalking")


class PolicyPolling:
    """The policies of this host's services, as the backend last said. While it is away they stay in effect."""

    def __init__(self, connection: Connection, processes: ProcessBook, interval_ns: int) -> None:
        self._connection = connection
        self._book = processes
        self._interval_s = interval_ns / 1e9
        self._known: dict[str, ServicePolicy] = {}
        self._policies: Sequence[Policy] = ()

    @property
    def policies(self) -> Sequence[Policy]:
        """By the services' names on this host."""
        return self._policies

    async def run(self, context: AgentContext) -> None:
        """For ever."""
        backoff = Backoff(most_s=self._interval_s)
        while True:
            services = {known.entity.service for known in self._book.all() if self._book.process_id(known.entity)}
            try:
                if services:
                    self.take(await self._connection.ask(QUERY_POLICIES, self._query(services)))
                self._apply(services, context.processes)
            except BackendError:
                await asyncio.sleep(backoff.after_failure())
                continue
            backoff.reset()
            await asyncio.sleep(self._interval_s)

    def _query(self, services: Iterable[str]) -> ContinuousProfilingPolicyQuery:
        asked = [
            ContinuousProfilingServicePolicyQuery(
                serviceName=clean(service), uuid=self._known[service].uuid if service in self._known else ""
            )
            for service in sorted(services)
        ]
        return ContinuousProfilingPolicyQuery(policies=asked)

    def take(self, commands: Commands) -> None:
        """A reply. One that is none changes nothing."""
        try:
            changed = read_policies(commands)
        except ValueError as error:
            log.warning("policies not understood", reason=str(error))
            return
        for policy in changed:
            if not policy.uuid:
                self._known.pop(policy.service, None)
            elif policy != self._known.get(policy.service):
                self._known[policy.service] = policy
                log.info("policy", service=policy.service, targets=", ".join(policy.thresholds))

    def _apply(self, services: set[str], processes: Iterable[Process]) -> None:
        """What is in effect: policies of these services, by their names without the cluster's."""
        self._known = {name: policy for name, policy in self._known.items() if name in services}
        names = {
            (clean(in_cluster(entity, self._book.cluster).service), entity.service)
            for process in processes
            for entity in process.entities
        }
        policies = [
            Policy(plain, self._known[service].thresholds)
            for service, plain in sorted(names)
            if service in self._known
        ]
        if policies != self._policies:  # or whoever heeds them would take the same ones for others
            self._policies = policies
