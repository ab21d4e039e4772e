"""Settings of network profiling (contract section 7)."""

from typing import Annotated

from pydantic import BaseModel, Field

from rover_core.config import Duration, Env, MinDuration, MinSize, Size, parse_duration, parse_size

_ANALYZE = "ROVER_PROFILING_TASK_NETWORK_PROTOCOL_ANALYZE_"
_PREFIX = "ROVER_PROFILING_TASK_NETWORK_TOPOLOGY_"


class NetworkSettings(BaseModel):
    """report_interval: how often what was counted is told. meter_prefix: in front of every meter's name."""

    report_interval: Annotated[Duration, MinDuration("100ms"), Env(f"{_PREFIX}REPORT_INTERVAL")] = parse_duration(
        "2s"
    )
    meter_prefix: Annotated[str, Field(min_length=1), Env(f"{_PREFIX}METER_PREFIX")] = "rover_net_p"


class ProtocolAnalyzeSettings(BaseModel):
    """per_cpu_buffer: size of each ring that carries captured bytes, rounded up to a power of two.

    parallels: how many rings there are, each with a worker process that reads it. queue_size: sums that a worker
    keeps for the agent, who takes them five times a second; beyond half of it operations are not told apart any more.
    """

    per_cpu_buffer: Annotated[Size, MinSize("4KB"), Env(f"{_ANALYZE}PER_CPU_BUFFER")] = parse_size("400KB")
    parallels: Annotated[int, Field(ge=1, le=64), Env(f"{_ANALYZE}PARALLELS")] = 2
    queue_size: Annotated[int, Field(ge=1), Env(f"{_ANALYZE}QUEUE_SIZE")] = 5000
