"""What can be configured, and where things lie."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

# Whole nanoseconds and bytes until the core's parsed types arrive; these two lines are all there is to swap.
Duration = int
Size = int

FormatName = Literal["folded", "html", "pprof", "speedscope"]
DAY_NS = 24 * 3600 * 1_000_000_000


class LocalSettings(BaseModel):
    """Section `exporter.local`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    directory: Path = Field(Path("rover-data"), description="Where the store and the written files are kept")
    retention: Duration = Field(7 * DAY_NS, gt=0, description="How long profiles stay in the store")
    max_size: Size = Field(256_000_000, ge=1_000_000, description="How large the store may grow")
    formats: list[FormatName] = Field(["html"], description="Files to write for each task when the agent stops")


def store_path(directory: Path) -> Path:
    return directory / "profiles.db"
