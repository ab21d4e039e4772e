"""The parts that share one connection to one backend."""

import asyncio

from rover_core.api import AgentContext, PolicySource, Settings
from rover_core.config.sections import ProfilingSettings
from rover_core.identity.agent import agent_id
from rover_exporter_skywalking.accepted import AcceptedOrders
from rover_exporter_skywalking.connection import Connection
from rover_exporter_skywalking.exporter import NAME, BackendExporter
from rover_exporter_skywalking.policypolling import PolicyPolling
from rover_exporter_skywalking.processes import ProcessBook
from rover_exporter_skywalking.reporting import Reporter
from rover_exporter_skywalking.settings import BackendSettings, CoreSettings, ReportSettings
from rover_exporter_skywalking.tasks import TaskPolling
from rover_exporter_skywalking.triggered import TriggeredTasks


class Backend:
    """An exporter and a task source (`rover_core.api`) that know the same processes and tasks."""

    def __init__(self, settings: Settings) -> None:
        backend, report = settings.section(BackendSettings), settings.section(ReportSettings)
        profiling = settings.section(ProfilingSettings)
        name = agent_id()
        connection = Connection(backend)
        self.processes = processes = ProcessBook(
            settings.section(CoreSettings).cluster_name, report.properties_report_period
        )
        accepted = AcceptedOrders()
        reporter = Reporter(connection, processes, report, name)
        polling = TaskPolling(connection, processes, accepted, name, profiling.check_interval)
        policies = PolicyPolling(connection, processes, profiling.check_interval)
        self._triggered = TriggeredTasks(connection, processes, accepted, policies)
        self.exporter = BackendExporter(connection, processes, accepted, self._triggered, backend.buffer)
        self.source = BackendSource(connection, reporter, polling if profiling.active else None)

    @property
    def policies(self) -> PolicySource:
        """Asked for by whoever heeds policies: from then on the backend is asked for them."""
        self.source.policies = self._triggered.polling
        return self._triggered


class BackendSource:
    """Reports processes and asks for tasks, and for policies where these are wanted.

    polling: None for an agent that is not to profile.
    """

    name = NAME

    def __init__(self, connection: Connection, reporter: Reporter, polling: TaskPolling | None) -> None:
        self._connection = connection
        self._reporter = reporter
        self._polling = polling
        self.policies: PolicyPolling | None = None

    async def run(self, context: AgentContext) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._connection.watch())
            group.create_task(self._reporter.run(context))
            if self._polling:
                await self._reporter.assigned.wait()  # before, there can be no task for this agent
                group.create_task(self._polling.run(context))
                if self.policies:
                    group.create_task(self.policies.run(context))
