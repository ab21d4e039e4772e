"""A backend and the parts of the plugin that talk to it."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from skywalking_backend import Backend

from rover_core.config.loading import load_settings
from rover_core.model import Entity, Process, ProcessKey
from rover_exporter_skywalking.settings import SECTIONS

MakeProcess = Callable[..., Process]


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    served = Backend()
    await served.start()
    yield served
    await served.stop()


@pytest.fixture
def settings_for() -> Callable[..., Any]:
    """settings_for(backend, **{"profiling.check_interval": "1s"}): for tests, everything happens quickly."""

    def load(backend: Backend, **overrides: Any) -> Any:
        quick = {
            "core.backend.addr": backend.address,
            "profiling.check_interval": "100ms",
            "process_discovery.heartbeat_period": "200ms",
        }
        return load_settings(SECTIONS, overrides={**quick, **overrides}, environ={})

    return load


@pytest.fixture
def make_process() -> MakeProcess:
    """make_process("shop", pid=7, labels=("a",), properties={...}): a process with one entity, named after it."""

    def make(name: str, pid: int = 7, **fields: Any) -> Process:
        entity = Entity("OS_LINUX", f"{name}-service", "host", name, fields.pop("labels", ()))
        properties = tuple(fields.pop("properties", {}).items())
        key = ProcessKey(pid, pid * 7)
        process = Process(key, 1, name, f"/usr/bin/{name}", (name, "--serve"), 0, entities=(entity,))
        return replace(process, properties=properties, **fields)

    return make
