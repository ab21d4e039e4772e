"""What can be configured, and where things lie."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

# Whole nanoseconds and bytes until the core's parsed types arrive; these two lines are all there is to swap.
Duration = int
Size = int

FormatName = Literal["folded", "html", "pprof", "speedscope"]
_DAY_NS = 24 * 3600 * 1_000_000_000
_MB = 1024 * 1024


def _split(value: Any) -> Any:
    """`html,pprof`, as the environment has it, is a list too."""
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


class LocalSettings(BaseModel):
    """Section `exporter.local`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    directory: Path = Field(default=Path("rover-data"), description="Where the store and the files are kept")
    retention: Duration = Field(default=7 * _DAY_NS, gt=0, description="How long profiles stay in the store")
    max_size: Size = Field(default=256 * _MB, ge=_MB, description="How large the store may grow")
    formats: Annotated[tuple[FormatName, ...], BeforeValidator(_split)] = Field(
        default=("html",), description="Files to write of each task when the agent ends"
    )


def store_path(directory: Path) -> Path:
    return directory / "profiles.db"
