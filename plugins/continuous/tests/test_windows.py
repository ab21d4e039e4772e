"""Windows of one-second slots (contract sections 3.6 and 9.2)."""

from rover_continuous.windows import Window


def test_the_newest_seconds_are_kept() -> None:
    """Broken: a window holds more than its length, or loses what is in it."""
    window = Window(3)
    for second in (11, 12, 13):
        window.put(second - 1, second, second)
    assert window.values(10, 13) == [11, 12, 13]
    window.put(13, 14, 14)
    assert window.values(11, 14) == [12, 13, 14]


def test_seconds_between_two_looks_have_the_value_of_the_second_one() -> None:
    """Broken: a look that is a little late leaves a hole, and "10 of the last 10 seconds" is never reached."""
    window = Window(4)
    window.put(10, 11, 1.0)
    window.put(11, 14, 5.0)
    assert window.values(10, 14) == [1, 5, 5, 5]
    window.put(14, 14, 7.0)
    assert window.values(10, 14) == [1, 5, 5, 7]


def test_an_old_spike_is_not_seen_again_when_nothing_comes() -> None:
    """Broken: once traffic stops, the last spike triggers for ever (contract section 8.2)."""
    window = Window(5)
    window.add(100, 500, 1)
    assert window.values(95, 100) == [500]
    assert window.values(99, 104) == [500]
    assert window.values(100, 105) == []
    assert window.values(10_000, 10_005) == []


def test_what_is_late_goes_where_it_belongs_or_nowhere() -> None:
    """Broken: an answer that took seconds changes the newest slot, or one that is long gone."""
    window = Window(3)
    window.add(20, 1, 1)
    window.add(18, 6, 2)
    window.add(17, 100, 1)
    window.add(18, 0, 1)
    assert window.values(17, 20) == [2, 1]


def test_parts_and_wholes_are_added_up_before_they_are_divided() -> None:
    """Broken: a second with 1 error of 1 and 0 of 99 is an error rate of 50 %."""
    window = Window(2)
    window.add(5, 100 * 1, 1)
    window.add(5, 0, 99)
    assert window.values(4, 5) == [1.0]


def test_a_window_that_grows_or_shrinks_keeps_its_newest_seconds() -> None:
    """Broken: a policy's change moves values to other seconds (contract section 8.2)."""
    window = Window(4)
    for second in range(31, 35):
        window.put(second - 1, second, second)
    assert window.resized(2).values(0, 34) == [33, 34]
    grown = window.resized(10)
    assert grown.values(0, 34) == [31, 32, 33, 34]
    grown.put(34, 35, 35)
    assert grown.values(24, 35) == [31, 32, 33, 34, 35]


def test_a_leap_in_time_clears_it() -> None:
    """Broken: after a suspended machine wakes, values of before count as the last seconds'."""
    window = Window(3)
    window.put(9, 10, 1)
    window.put(10**9 - 1, 10**9, 2)
    assert window.values(10**9 - 3, 10**9) == [2]
