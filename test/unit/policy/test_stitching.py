"""Chunks that come late join without a pause, at the step that is meant for the time it is."""

import pytest

from safevla_ros.policy.stitching import ChunkSchedule

STEP = 100


def schedule():
    return ChunkSchedule(STEP, start_ns=1000)


def test_a_chunk_that_is_known_at_once_is_taken_whole():
    steps = schedule()
    assert steps.join("abcd", observed_ns=1000, now_ns=1000) == 0
    assert [steps.take(1000 + 100 * i) for i in range(4)] == list("abcd")
    assert steps.due_ns == 1400


def test_a_late_chunk_leaves_out_what_was_meant_for_the_time_before():
    steps = schedule()
    assert steps.join("abcd", observed_ns=1000, now_ns=1210) == 2
    assert steps.take(1210) == "c"


def test_a_new_chunk_takes_the_place_of_the_running_one_where_the_next_step_is_due():
    steps = schedule()
    steps.join("abcd", 1000, 1000)
    assert steps.take(1000) == "a"
    # Seen at 1020, known at 1080; the next step is due at 1100, which is nearest to its row 1.
    assert steps.join("ABCD", observed_ns=1020, now_ns=1080) == 1
    assert [steps.take(1100 + 100 * i) for i in range(3)] == list("BCD")


def test_a_chunk_that_is_too_old_changes_nothing():
    steps = schedule()
    steps.join("abcd", 1000, 1000)
    steps.take(1000)
    assert steps.join("AB", observed_ns=900, now_ns=1050) is None
    assert len(steps) == 3
    assert steps.take(1100) == "b"


def test_the_next_chunk_is_asked_for_as_late_as_the_slowest_lately_allows():
    steps = schedule()
    assert steps.wants_chunk(1000)  # nothing is known
    steps.join("abcdef", observed_ns=1000, now_ns=1150)  # c is next, due at once; 150 late
    assert not steps.wants_chunk(1150)  # c d e f: 400 to go
    steps.take(1150)
    assert not steps.wants_chunk(1150)  # due at 1250, d e f: still 400
    steps.take(1250)
    assert not steps.wants_chunk(1260)  # 290 to go, 250 are needed
    assert steps.wants_chunk(1300)


def test_small_delays_do_not_add_up_and_a_long_one_starts_a_new_grid():
    steps = schedule()
    steps.join("abcdef", 1000, 1000)
    for late in (10, 40, 20):
        steps.take(steps.due_ns + late)
    assert steps.due_ns == 1300
    steps.take(1390)
    assert steps.due_ns == pytest.approx(1490)


def test_a_truncated_chunk_gives_what_is_left_of_it_and_another_is_wanted_at_once():
    steps = schedule()
    steps.join("abcdef", 1000, 1000)
    steps.take(1000)
    assert not steps.wants_chunk(1000)
    steps.truncate(2)
    assert steps.wants_chunk(1000)
    assert [steps.take(1100), steps.take(1200)] == ["b", "c"]
    assert len(steps) == 0
    steps.join("ABCDEF", observed_ns=1300, now_ns=1300)
    assert not steps.wants_chunk(1300)
