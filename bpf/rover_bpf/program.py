"""A loaded eBPF program: descriptors and what is known of its maps."""

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MapInfo:
    """A map of a loaded program. Sizes in bytes; `type` is enum bpf_map_type."""

    fd: int
    type: int
    key_size: int
    value_size: int
    max_entries: int


class Program:
    """A loaded program: descriptors of its functions and maps. Closing them lets the kernel free it all.

    errors: the functions that the kernel refused, and the extensions that are not loaded, with the reason.
    """

    def __init__(
        self, functions: Mapping[str, int], maps: Mapping[str, MapInfo], errors: Mapping[str, str], log: str
    ) -> None:
        self.functions = functions
        self.maps = maps
        self.errors = errors
        self.log = log

    def close(self) -> None:
        for fd in [*self.functions.values(), *(info.fd for info in self.maps.values())]:
            os.close(fd)
        self.functions, self.maps = {}, {}

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
