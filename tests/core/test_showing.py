"""What a profile says of how it is shown, and durations as people read them."""

import pytest

from rover_core.hottest import hottest
from rover_core.model import Frame, ProcessKey, SampleType, StackSample
from rover_core.showing import duration_text, facts, marks, nothing_sentence
from rover_core.testing import make_profile

WORDS = {"host": "web-1", "mark:state=preempted": "preempted", "mark:lock=held": "", "text:nothing": "No waits."}


@pytest.mark.parametrize(
    ("labels", "frames"),
    [
        ((), ()),
        ((("state", "asleep"), ("other", "preempted")), ()),
        ((("state", "preempted"),), ("[preempted]",)),
        ((("state", "preempted"), ("lock", "held")), ("[preempted]",)),
    ],
)
def test_labels_that_the_profile_names_become_frames(labels: tuple[tuple[str, str], ...], frames: object) -> None:
    """Broken: every label clutters the stacks, or none shows."""
    assert marks(labels, WORDS) == frames


def test_words_for_writers_are_not_facts_for_people() -> None:
    """Broken: a page lists `mark:state=preempted` beside the host."""
    assert facts(make_profile(attributes=WORDS)) == {"host": "web-1"}


def test_nothing_is_said_in_the_profilers_words() -> None:
    """Broken: a profile without waits speaks of CPU time."""
    assert nothing_sentence(make_profile(attributes=WORDS)) == "No waits."
    assert nothing_sentence(make_profile()).startswith("No samples: ")


def test_a_mark_is_the_innermost_function() -> None:
    """Broken: the table says that a preempted function waited."""
    sample = StackSample(ProcessKey(1, 1), "app", (Frame("work", "app", 0),), (), (5,), (("state", "preempted"),))
    types = (SampleType("delay", "nanoseconds"),)
    rows = hottest(make_profile(sample, attributes=WORDS, sample_types=types), 9)
    assert [(row.function, row.module, row.self, row.total) for row in rows] == [
        ("[preempted]", "", 5, 5),
        ("work", "app", 0, 5),
    ]


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1_500, "1.5 µs"),
        (1_149_000_000, "1.15 s"),
        (999_900_000, "1000 ms"),
        (59_000_000_000, "59 s"),
        (125_000_000_000, "2 min 5 s"),
        (7_500_000_000_000, "2 h 5 min"),
    ],
)
def test_durations(ns: int, text: str) -> None:
    """Broken: `1e+03 ms`."""
    assert duration_text(ns) == text
