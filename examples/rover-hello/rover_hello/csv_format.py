"""One line per process and stack."""

import csv
import io
from typing import BinaryIO

from rover_core.model import Profile


class CsvFormat:
    """A `rover_core.api.ProfileFormat`. Nothing to inherit from: the attributes and `write` are the interface."""

    name = "csv"
    extension = "csv"
    binary = False
    description = "one line per process and stack, for spreadsheets"

    def write(self, profile: Profile, out: BinaryIO) -> None:
        text = io.TextIOWrapper(out, encoding="utf-8", errors="replace", newline="")  # names may be no text
        rows = csv.writer(text)
        rows.writerow(["pid", "process", "stack", *(f"{kind.name}_{kind.unit}" for kind in profile.sample_types)])
        for sample in profile.samples:
            stack = ";".join(frame.label for frame in reversed(sample.frames))
            rows.writerow([sample.process.pid, sample.name, stack, *sample.values])
        text.detach()  # flushes; the caller's file stays open
