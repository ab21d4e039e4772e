"""pprof's format: a gzip-compressed `perftools.profiles.Profile` message.

Source of the field numbers: https://github.com/google/pprof/blob/main/proto/profile.proto. The message is flat and
only ever written, so a page of wire format (`protobuf.py`) replaces generated code and a runtime to match it, and
samples go out one at a time. The tests read it back with protobuf's own runtime and with `go tool pprof`.

Processes are labels: `go tool pprof -tagroot=process FILE` puts them at the root of every stack. So are all labels of
the samples: `-tagleaf=state`, `-tagfocus=state=preempted`.
"""

import gzip
from typing import BinaryIO

from rover_core.model import Frame, Profile, SampleType, StackSample
from rover_core.showing import facts
from rover_core.tables import completeness_sentence
from rover_exporter_local.protobuf import delimited, integer, message, packed
from rover_exporter_local.text import encodable


class Pprof:
    """`.pb.gz` with all sample types; the first one is what pprof shows unless asked otherwise."""

    name = "pprof"
    extension = "pb.gz"
    binary = True
    description = "pprof"

    def write(self, profile: Profile, out: BinaryIO) -> None:
        with gzip.GzipFile(filename="", mode="wb", fileobj=out, compresslevel=6) as compressed:
            writer = _Writer(compressed)
            writer.head(profile)
            for sample in profile.samples:
                writer.sample(sample)
            writer.strings()


class _Writer:
    """Numbers strings, mappings, functions and locations as samples mention them, and writes each once."""

    def __init__(self, out: gzip.GzipFile) -> None:
        self.out = out
        self.string_ids: dict[str, int] = {"": 0}  # profile.proto: string_table[0] must be ""
        self.mapping_ids: dict[str, int] = {}
        self.function_ids: dict[tuple[str, str], int] = {}
        self.location_ids: dict[tuple[str, str, int], int] = {}

    def head(self, profile: Profile) -> None:
        for each in profile.sample_types:
            self.out.write(message(1, *self._value_type(each)))
        self.out.write(integer(9, profile.start_ns) + integer(10, profile.end_ns - profile.start_ns))
        if profile.period_ns:
            self.out.write(message(11, *self._value_type(_period_type(profile))) + integer(12, profile.period_ns))
        comments = [f"{name}: {value}" for name, value in facts(profile).items()]
        comments.append(completeness_sentence(profile.completeness))
        self.out.write(packed(13, [self._string(comment) for comment in comments]))
        self.out.write(integer(14, self._string(profile.sample_types[0].name)))

    def sample(self, sample: StackSample) -> None:
        locations = [self._location(frame) for frame in sample.frames]
        labels = [self._label(name, value) for name, value in (("process", sample.name), *sample.labels)]
        pid = message(3, integer(1, self._string("pid")), integer(3, sample.process.pid))
        self.out.write(message(2, packed(1, locations), packed(2, sample.values), *labels, pid))

    def strings(self) -> None:
        for text in self.string_ids:
            self.out.write(delimited(6, text.encode()))

    def _label(self, name: str, value: str) -> bytes:
        return message(3, integer(1, self._string(name)), integer(2, self._string(value)))

    def _value_type(self, each: SampleType) -> tuple[bytes, bytes]:
        return integer(1, self._string(each.name)), integer(2, self._string(each.unit))

    def _location(self, frame: Frame) -> int:
        # An offset from a symbol is no address; without a symbol, the address in the module's file is all there is.
        address = 0 if frame.symbol else frame.offset
        key = (frame.label, frame.module, address)
        if key not in self.location_ids:
            number = self.location_ids[key] = len(self.location_ids) + 1
            line = message(4, integer(1, self._function(frame)))
            mapping = integer(2, self._mapping(frame.module))
            self.out.write(message(4, integer(1, number), mapping, integer(3, address), line))
        return self.location_ids[key]

    def _function(self, frame: Frame) -> int:
        key = (frame.label, frame.module)
        if key not in self.function_ids:
            number = self.function_ids[key] = len(self.function_ids) + 1
            name = self._string(frame.label)
            self.out.write(message(5, integer(1, number), integer(2, name), integer(3, name)))
        return self.function_ids[key]

    def _mapping(self, module: str) -> int:
        if not module:
            return 0
        if module not in self.mapping_ids:
            number = self.mapping_ids[module] = len(self.mapping_ids) + 1
            # has_functions (7): keeps pprof from looking for the file to name what we named already.
            self.out.write(message(3, integer(1, number), integer(5, self._string(module)), integer(7, 1)))
        return self.mapping_ids[module]

    def _string(self, text: str) -> int:
        return self.string_ids.setdefault(encodable(text), len(self.string_ids))


def _period_type(profile: Profile) -> SampleType:
    """The period is time; which time is what the profile's time-like sample type counts, if it has one."""
    timed = (each for each in profile.sample_types if each.unit == "nanoseconds")
    return next(timed, SampleType("time", "nanoseconds"))
