"""Settings of continuous profiling (contract section 7), and policies of one's own."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, field_validator, model_validator

from rover_core.config import CommaList, Duration, MinDuration, parse_duration
from rover_core.policies import Monitor, Policy, Threshold, Uri

_EXAMPLE = {"ON_CPU": {"PROCESS_CPU": {"threshold": 80, "period": 10, "count": 8}}}
_NAMES = {"urilist": "uri_list", "uriregex": "uri_regex"}


def _check_pattern(text: str) -> str:
    from rover_core.errors import UsageError
    from rover_core.patterns import compile_pattern

    try:
        return compile_pattern(text).text if text else text
    except UsageError as error:
        raise ValueError(error.what) from None


class ThresholdSettings(BaseModel, extra="forbid"):
    """As SkyWalking's policies have it: `count` of `period` slots of a second each are at `threshold` or above it."""

    threshold: float
    period: int
    count: int
    uri_list: CommaList = ()
    uri_regex: str = ""

    @model_validator(mode="before")
    @classmethod
    def _in_any_spelling(cls, value: Any) -> Any:
        """`URIList` and `uri_list` are the same."""
        if not isinstance(value, Mapping):
            return value
        plain = {str(name).lower().replace("_", ""): each for name, each in value.items()}
        return {_NAMES.get(name, name): each for name, each in plain.items()}

    @model_validator(mode="after")
    def _is_one(self) -> "ThresholdSettings":
        self.threshold_of(Monitor.PROCESS_CPU)
        _check_pattern(self.uri_regex)
        return self

    def threshold_of(self, monitor: Monitor) -> Threshold:
        return Threshold(monitor, self.threshold, self.period, self.count, uris_of(self.uri_list, self.uri_regex))


def uris_of(paths: Sequence[str], regex: str) -> tuple[Uri, ...]:
    """What a monitor of requests looks at: each of the paths, or else the expression, or else every request."""
    return tuple(Uri(path=path) for path in dict.fromkeys(paths)) or (Uri(regex=regex),)


def _upper(value: Any) -> Any:
    return {str(name).upper(): each for name, each in value.items()} if isinstance(value, Mapping) else value


_Checks = Annotated[dict[Monitor, ThresholdSettings], BeforeValidator(_upper)]


class PolicySettings(BaseModel, extra="forbid"):
    """A policy for a service, as SkyWalking has them, in effect with a backend and without one."""

    service_name: str = Field(min_length=1, examples=["shop"])
    profiling: Annotated[dict[str, _Checks], BeforeValidator(_upper)] = Field(examples=[_EXAMPLE])

    @field_validator("profiling")
    @classmethod
    def _has_checks(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not any(value.values()):
            raise ValueError("a policy says what to begin, and when: `ON_CPU: {PROCESS_CPU: {threshold: 80, ...}}`")
        return value

    @property
    def policy(self) -> Policy:
        return Policy(
            self.service_name,
            {
                profiler: tuple(settings.threshold_of(monitor) for monitor, settings in checks.items())
                for profiler, checks in self.profiling.items()
            },
        )


class ContinuousSettings(BaseModel):
    """Watching processes, to profile them when thresholds are passed.

    fetch_interval: how often values are read. check_interval: how often they are compared with thresholds, and told a
    backend as metrics. meter_prefix: in front of every metric's name. policies: beside those of a backend.
    """

    meter_prefix: Annotated[str, Field(min_length=1)] = "rover_con_p"
    fetch_interval: Annotated[Duration, MinDuration("100ms")] = parse_duration("1s")
    check_interval: Annotated[Duration, MinDuration("100ms")] = parse_duration("5s")
    policies: tuple[PolicySettings, ...] = ()


class TriggerSettings(BaseModel):
    """execute_duration: how long what a policy begins profiles. silence_duration: from its start on, for how long
    the same is not begun again for the same process, or, of network profiling, instance."""

    execute_duration: Annotated[Duration, MinDuration("1s")] = parse_duration("10m")
    silence_duration: Duration = parse_duration("20m")
