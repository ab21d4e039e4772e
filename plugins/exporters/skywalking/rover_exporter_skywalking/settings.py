"""What can be configured: the keys and variables of contract section 7, and `buffer`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator

from rover_core.api import Settings, SettingsSection
from rover_core.config import Duration, Env, MinDuration, MinSize, Size, parse_duration, parse_size


class CoreSettings(BaseModel):
    """What this agent is to the backend."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cluster_name: str = Field(
        default="", description="Put before the names of services, as `name::service`, where they have no `::`"
    )


class BackendSettings(BaseModel):
    """The SkyWalking backend. Giving `addr`, be it the default, is what makes Rover work for one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    addr: Annotated[str, Env("ROVER_BACKEND_ADDR")] = Field(
        default="localhost:11800", description="Its gRPC address, `host:port`"
    )
    enable_TLS: Annotated[bool, Env("ROVER_BACKEND_ENABLE_TLS")] = Field(  # noqa: N815 - the contract's name
        default=False, description="Encrypt"
    )
    client_pem_path: Annotated[str, Env("ROVER_BACKEND_PEM_PATH")] = Field(
        default="", description="This agent's certificate (PEM), for a backend that wants one; needs the key too"
    )
    client_key_path: Annotated[str, Env("ROVER_BACKEND_KEY_PATH")] = Field(
        default="", description="The key of this agent's certificate (PEM)"
    )
    insecure_skip_verify: Annotated[bool, Env("ROVER_BACKEND_INSECURE_SKIP_VERIFY")] = Field(
        default=False, description="Believe any certificate of the backend"
    )
    ca_pem_path: Annotated[str, Env("ROVER_BACKEND_CA_PEM_PATH")] = Field(
        default="", description="Whose signatures to believe (PEM); empty for those that the system believes"
    )
    check_period: Annotated[int, Field(ge=1), Env("ROVER_BACKEND_CHECK_PERIOD")] = Field(
        default=5, description="Seconds between looks at whether the connection is there"
    )
    authentication: Annotated[SecretStr, Env("ROVER_BACKEND_AUTHENTICATION")] = Field(
        default=SecretStr(""), description="Sent with every call, as the backend's administrator gave it"
    )
    buffer: Annotated[Size, MinSize("64KB"), Env("ROVER_BACKEND_BUFFER")] = Field(
        default=parse_size("16MB"),
        description="What may wait for a backend that is away; beyond it the oldest is lost",
    )

    @field_validator("addr")
    @classmethod
    def _is_an_address(cls, addr: str) -> str:
        host, _, port = addr.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError(f"{addr!r} is not an address; expected host:port, for example localhost:11800")
        return addr

    @field_validator("ca_pem_path", "client_pem_path", "client_key_path")
    @classmethod
    def _holds_something(cls, path: str, info: ValidationInfo) -> str:
        if path and info.data.get("enable_TLS"):
            _read_pem(path)
        return path

    def pem(self, path: str) -> bytes | None:
        """What is in a file of certificates or a key; None for no file. OSError if it went since the start."""
        return Path(path).read_bytes() if path else None


def _read_pem(path: str) -> None:
    try:
        empty = not Path(path).read_bytes().strip()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    if empty:
        raise ValueError(f"{path} is empty; expected a certificate or a key in PEM")


class ReportSettings(BaseModel):
    """How the backend is told which processes there are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    heartbeat_period: Annotated[Duration, MinDuration("100ms")] = Field(
        default=parse_duration("20s"), description="How often the backend hears that processes are still there"
    )
    properties_report_period: Annotated[int, Field(ge=1)] = Field(
        default=10, description="Every so many heartbeats processes are reported with all they have"
    )


SECTIONS: Sequence[SettingsSection] = (
    SettingsSection("core", CoreSettings),
    SettingsSection("core.backend", BackendSettings),
    SettingsSection("process_discovery", ReportSettings),
)


def is_configured(settings: Settings) -> bool:
    """Whether there is a backend to work for: `core.backend.addr` was given, by whatever source."""
    given: set[str] = settings.section(BackendSettings).model_fields_set
    return "addr" in given
