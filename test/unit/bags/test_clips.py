"""When a clip of a violation pauses, goes on and ends."""

from __future__ import annotations

import pytest

from safevla_ros.bags.clips import ClipTimes, ClipWindow, Event, clip_name

TIMES = ClipTimes(before_s=5.0, after_s=3.0, longest_s=60.0)


def test_a_clip_pauses_after_its_last_event_and_ends_when_none_can_overlap_any_more() -> None:
    window = ClipWindow(TIMES, 100.0)
    assert (window.pauses_s, window.ends_s) == (103.0, 108.0)
    assert window.takes(107.9)  # a clip of its own would begin at 102.9, within this one
    assert not window.takes(108.0)
    window.extend(107.0)
    assert (window.pauses_s, window.ends_s) == (110.0, 115.0)


def test_a_clip_of_one_violation_after_the_other_is_not_endless() -> None:
    window = ClipWindow(TIMES, 0.0)
    for second in range(0, 100, 2):
        if window.takes(second):
            window.extend(second)
    assert window.pauses_s == 63.0


@pytest.mark.parametrize(
    ("episode", "term", "name"),
    [
        ("e-1", "drop", "e-1-step0007-drop"),
        ("", "", "1500-latch"),
        ("e-1", "", "e-1-step0007-latch"),
    ],
)
def test_a_clip_is_named_by_what_it_shows(episode: str, term: str, name: str) -> None:
    event = Event(1_500_000_000, "latch", 7, term, "", "", None, None)
    assert clip_name(episode, event) == name
