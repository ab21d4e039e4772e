"""The format against a small profile; no kernel, no agent."""

import io

from rover_core.model import Completeness, Frame, ProcessKey, Profile, SampleType, StackSample
from rover_core.testing import FormatConformance
from rover_hello.csv_format import CsvFormat


class TestCsv(FormatConformance):
    """What every format must do."""

    def make(self) -> CsvFormat:
        return CsvFormat()


def test_one_line_per_stack_outermost_function_first() -> None:
    """Broken: the columns do not mean what the README says."""
    sample = StackSample(
        ProcessKey(7, 1), "app, the", (Frame("work", "app", 4), Frame("main", "app", 8)), (), (3, 27)
    )
    kinds = (SampleType("samples", "count"), SampleType("cpu", "nanoseconds"))
    out = io.BytesIO()
    CsvFormat().write(Profile("task", "ON_CPU", 0, 1, kinds, (sample,), Completeness()), out)
    lines = ["pid,process,stack,samples_count,cpu_nanoseconds", '7,"app, the",main;work,3,27', ""]
    assert out.getvalue().decode() == "\r\n".join(lines)
