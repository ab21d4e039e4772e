"""Settings of network profiling (contract section 7)."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from rover_core.config import CommaList, Duration, Env, MinDuration, MinSize, Size, parse_duration, parse_size
from rover_core.wire import Redaction
from rover_core.wire.redaction import SECRET_HEADERS, SECRET_PARAMETERS
from rover_core.wire.rendering import encoding_of
from rover_network.rules import parse_rules

_ANALYZE = "ROVER_PROFILING_TASK_NETWORK_PROTOCOL_ANALYZE_"
_PREFIX = "ROVER_PROFILING_TASK_NETWORK_TOPOLOGY_"


class NetworkSettings(BaseModel):
    """report_interval: how often what was counted is told. meter_prefix: in front of every meter's name."""

    report_interval: Annotated[Duration, MinDuration("100ms"), Env(f"{_PREFIX}REPORT_INTERVAL")] = parse_duration(
        "2s"
    )
    meter_prefix: Annotated[str, Field(min_length=1), Env(f"{_PREFIX}METER_PREFIX")] = "rover_net_p"


def _check_encoding(label: str) -> str:
    if encoding_of(label) is None:
        raise ValueError(f"{label!r} is no encoding of text; expected one such as UTF-8, ISO-8859-1 or GBK")
    return label


def _check_rules(text: str) -> str:
    if text.strip():
        parse_rules(text)
    return text


_Encoding = Annotated[str, AfterValidator(_check_encoding)]
_Rules = Annotated[str, AfterValidator(_check_rules)]


class HttpSamplingSettings(BaseModel):
    """Encodings of bodies that do not say theirs."""

    default_request_encoding: _Encoding = "UTF-8"
    default_response_encoding: _Encoding = "UTF-8"


class SamplingSettings(BaseModel):
    """Samples of what was said: exchanges that a task's rules ask for.

    rules: of tasks that bring none, as `rover profile network --sample` takes them; none by default.
    secret_headers: values of these are redacted, beside those of Authorization, Cookie, Set-Cookie and
    Proxy-Authorization. secret_parameters: the same of queries' parameters, and of JSON members.
    """

    rules: _Rules = ""
    http: HttpSamplingSettings = HttpSamplingSettings()
    secret_headers: CommaList = SECRET_HEADERS
    secret_parameters: CommaList = SECRET_PARAMETERS

    @property
    def redaction(self) -> Redaction:
        return Redaction(self.secret_headers, self.secret_parameters)

    @property
    def encodings(self) -> tuple[str, str]:
        """Of requests, of responses."""
        return self.http.default_request_encoding, self.http.default_response_encoding


class ProtocolAnalyzeSettings(BaseModel):
    """per_cpu_buffer: size of each ring that carries captured bytes, rounded up to a power of two.

    parallels: how many rings there are, each with a worker process that reads it. queue_size: sums that a worker
    keeps for the agent, who takes them five times a second; beyond half of it operations are not told apart any more.
    fast_path: count plain exchanges in the kernel, where their protocol can, and have workers read the others alone.
    protocols: names of those to read; empty: all that are installed.
    """

    per_cpu_buffer: Annotated[Size, MinSize("4KB"), Env(f"{_ANALYZE}PER_CPU_BUFFER")] = parse_size("400KB")
    parallels: Annotated[int, Field(ge=1, le=64), Env(f"{_ANALYZE}PARALLELS")] = 2
    queue_size: Annotated[int, Field(ge=1), Env(f"{_ANALYZE}QUEUE_SIZE")] = 5000
    fast_path: Annotated[bool, Env(f"{_ANALYZE}FAST_PATH")] = True
    protocols: Annotated[CommaList, Env(f"{_ANALYZE}PROTOCOLS")] = ()
