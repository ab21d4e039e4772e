"""`process_discovery.scanner`: who the processes are to a backend (contract section 7, scanner keys)."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, model_validator

from rover_core.config import CommaList, Duration, Env, MinDuration, parse_duration
from rover_core.errors import UsageError


def _read_modes(value: Any) -> Any:
    parts = value.split(",") if isinstance(value, str) else value
    return [part.strip().upper() for part in parts if part.strip()] if _are_words(parts) else value


def _are_words(parts: Any) -> bool:
    return isinstance(parts, list | tuple) and all(isinstance(part, str) for part in parts)


# What checks a text is imported where there is one: `rover --help` needs the models alone.


def _check_pattern(text: str) -> str:
    from rover_core.patterns import compile_pattern

    try:
        return compile_pattern(text).text if text else text
    except UsageError as error:
        raise ValueError(error.what) from None


def _check_expression(text: str) -> str:
    from rover_core.expressions import compile_template
    from rover_discovery_host.vocabulary import vocabulary

    try:
        return compile_template(text, vocabulary()).text
    except UsageError as error:
        raise ValueError(error.what) from None


Mode = Literal["AGENT_SENSOR", "REGEX", "ALL"]
Modes = Annotated[tuple[Mode, ...], BeforeValidator(_read_modes)]
Expression = Annotated[str, AfterValidator(_check_expression)]

_REGEX = "ROVER_PROCESS_DISCOVERY_REGEX_SCANNER_"


class RegexSettings(BaseModel):
    """Processes whose command line matches, and their names. Without match_cmd and service_name it is not in use."""

    match_cmd: Annotated[str, AfterValidator(_check_pattern), Env(f"{_REGEX}MATCH_CMD")] = ""
    layer: Annotated[str, Env(f"{_REGEX}LAYER")] = "OS_LINUX"
    service_name: Annotated[Expression, Env(f"{_REGEX}SERVICE_NAME")] = ""
    instance_name: Annotated[Expression, Env(f"{_REGEX}INSTANCE_NAME")] = "{{.Rover.HostName}}"
    process_name: Annotated[Expression, Env(f"{_REGEX}PROCESS_NAME")] = "{{.Process.ExeName}}"
    labels: Annotated[CommaList, Env(f"{_REGEX}LABELS")] = ()

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if bool(self.match_cmd) != bool(self.service_name):
            missing, given = ("service_name", "match_cmd") if self.match_cmd else ("match_cmd", "service_name")
            raise ValueError(f"{given} is set and {missing} is not; both are needed")
        return self


class AgentSensorSettings(BaseModel):
    """process_status_refresh_period: how old the file of a SkyWalking agent may be that says who its process is."""

    process_status_refresh_period: Annotated[
        Duration, MinDuration("1s"), Env("ROVER_PROCESS_DISCOVERY_AGENT_PROCESS_STATUS_REFRESH_PERIOD")
    ] = parse_duration("1m")


class HostSettings(BaseModel):
    """How processes come to their names.

    mode: AGENT_SENSOR (as SkyWalking agents say), REGEX (as `regex` says), ALL (each after its executable), the first
    of them that knows a process wins; none means REGEX where `regex` has entries, else ALL. redact_secrets: whether
    obvious passwords in command lines are replaced before these leave the host.
    """

    mode: Annotated[Modes, Env("ROVER_PROCESS_DISCOVERY_SCAN_MODE")] = ()
    agent: AgentSensorSettings = AgentSensorSettings()
    regex: tuple[RegexSettings, ...] = ()
    redact_secrets: bool = True

    @property
    def finders(self) -> tuple[RegexSettings, ...]:
        """The entries of `regex` that are in use."""
        return tuple(entry for entry in self.regex if entry.match_cmd)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """What `mode` comes to."""
        return self.mode or (("REGEX",) if self.finders else ("ALL",))
