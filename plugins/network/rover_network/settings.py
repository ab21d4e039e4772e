"""Settings of network profiling (contract section 7)."""

from typing import Annotated

from pydantic import BaseModel, Field

from rover_core.config import Duration, Env, MinDuration, parse_duration

_PREFIX = "ROVER_PROFILING_TASK_NETWORK_TOPOLOGY_"


class NetworkSettings(BaseModel):
    """report_interval: how often what was counted is told. meter_prefix: in front of every meter's name."""

    report_interval: Annotated[Duration, MinDuration("100ms"), Env(f"{_PREFIX}REPORT_INTERVAL")] = parse_duration(
        "2s"
    )
    meter_prefix: Annotated[str, Field(min_length=1), Env(f"{_PREFIX}METER_PREFIX")] = "rover_net_p"
