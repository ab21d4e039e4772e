"""What can be configured, and where things lie."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from rover_core.config import Duration, MinDuration, MinSize, Size, parse_duration, parse_size

SECTION = "exporter.local"

FormatName = Literal["folded", "html", "pprof", "speedscope"]


def _split(value: Any) -> Any:
    """`html,pprof`, as the environment has it, is a list too."""
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


class LocalSettings(BaseModel):
    """What is kept on this host."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    directory: Path = Field(default=Path("rover-data"), description="Where the store and the files are kept")
    retention: Annotated[Duration, MinDuration("1s")] = Field(
        default=parse_duration("7d"), description="How long profiles and files are kept"
    )
    max_size: Annotated[Size, MinSize("1MB")] = Field(
        default=parse_size("256MB"), description="How large the store and the files may grow together"
    )
    formats: Annotated[tuple[FormatName, ...], BeforeValidator(_split)] = Field(
        default=("html",), description="Files to write of each task when it is over"
    )
    mode: Annotated[str, Field(pattern="^0?6[046][046]$")] = Field(
        default="0600", description="Who may read the store and the files: only their owner, or 0640 for a group too"
    )


def store_path(directory: Path) -> Path:
    return directory / "profiles.db"
