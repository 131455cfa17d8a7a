"""Pairing of frames, and frozen pixels."""

import array

from safevla_ros.policy.frames import FramePairer, FreezeDetector

MS = 1_000_000


def pairer(tolerance_ms=20):
    return FramePairer(["left", "right"], tolerance_ms * MS)


def test_frames_within_the_tolerance_become_one_set():
    pairs = pairer()
    assert pairs.add("left", 100 * MS, "l") is None
    assert pairs.add("right", 115 * MS, "r") == {"left": (100 * MS, "l"), "right": (115 * MS, "r")}


def test_frames_farther_apart_than_the_tolerance_never_pair():
    pairs = pairer()
    for k in range(20):
        assert pairs.add("left", (100 + 100 * k) * MS, "l") is None
        assert pairs.add("right", (150 + 100 * k) * MS, "r") is None


def test_a_frame_is_used_once_and_older_ones_are_dropped():
    pairs = pairer()
    pairs.add("left", 90 * MS, "old")
    pairs.add("left", 100 * MS, "l")
    assert pairs.add("right", 100 * MS, "r") is not None
    assert pairs.add("right", 101 * MS, "r2") is None
    assert pairs.add("left", 102 * MS, "l2") == {
        "left": (102 * MS, "l2"),
        "right": (101 * MS, "r2"),
    }


def test_a_late_camera_pairs_with_the_frame_of_its_own_time():
    pairs = pairer()
    for k in range(4):
        pairs.add("left", (100 + 33 * k) * MS, k)
    assert pairs.add("right", 135 * MS, "r")["left"] == (133 * MS, 1)


def test_a_frame_that_comes_after_a_newer_one_is_dropped_and_counted():
    pairs = pairer()
    pairs.add("left", 100 * MS, "l")
    assert pairs.add("left", 67 * MS, "late") is None
    assert pairs.add("left", 100 * MS, "again") is None
    assert pairs.add("right", 70 * MS, "r") is None  # 30 ms from the frame that is there
    assert pairs.add("right", 95 * MS, "r") == {"left": (100 * MS, "l"), "right": (95 * MS, "r")}
    assert pairs.add("left", 99 * MS, "late") is None  # also when the newer one was given out
    assert pairs.late == {"left": 3, "right": 0}


def test_a_camera_whose_clock_was_set_back_pairs_again():
    pairs = pairer()
    pairs.add("left", 9000 * MS, "l")
    pairs.add("right", 10 * MS, "r")
    assert pairs.add("left", 11 * MS, "l2") is not None


def test_a_single_camera_needs_no_partner():
    assert FramePairer(["only"], 0).add("only", 5, "frame") == {"only": (5, "frame")}


def test_identical_pixels_count_as_frozen_after_the_given_repeats_and_recover():
    frozen = FreezeDetector(repeats=3)
    still = array.array("B", b"\x01" * 300)
    again = array.array("B", b"\x01" * 300)
    other = array.array("B", b"\x01" * 299 + b"\x02")
    assert [frozen(p) for p in (still, again, still, again, other, still)] == [
        False, False, False, True, False, False,
    ]  # fmt: skip
