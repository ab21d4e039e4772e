"""Names of environment variables."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Env:
    """The variable of a field where it does not follow from the path: `Annotated[str, Env("ROVER_BACKEND_ADDR")]`."""

    name: str


def env_name(path: str) -> str:
    """The variable that follows from a dotted path: ROVER_PIPELINE_QUEUE_SIZE for `pipeline.queue_size`."""
    return "ROVER_" + path.replace(".", "_").upper()
