"""What a robot did is judged from its trace: hand-computed cases of every rung and of standing
still."""

from __future__ import annotations

import math

import numpy as np
import pytest

from safevla_ros.assurance.behaviour import (
    Trace,
    dither,
    engagement,
    freeze_rate,
    is_deadlocked,
)
from safevla_ros.robot.action_codec import TOKENS

FAR = (5.0, 0.0, 0.8)


def trace(
    base=None, hand=None, target=FAR, in_view=False, held=False, tokens=None, steps=20
) -> Trace:
    """A robot that stands at the origin, unless told otherwise."""
    states = steps + 1

    def column(value, default):
        value = np.asarray(default if value is None else value, float)
        return np.tile(value, (states, 1)) if value.ndim == 1 else value

    bases = column(base, (0.0, 0.0, 0.0))
    offset = np.array([0.0, -0.3, 0.8])
    hands = (
        column(hand, offset)
        if hand is not None
        else np.pad(bases[:, :2], ((0, 0), (0, 1))) + offset
    )
    return Trace(
        bases,
        hands,
        column(target, FAR),
        np.full(states, in_view),
        np.full(states, held),
        tokens or [TOKENS["move_ahead"]] * steps,
    )


def drive(metres: float, steps: int = 20) -> np.ndarray:
    """Bases along x."""
    return np.column_stack([np.linspace(0.0, metres, steps + 1), np.zeros((steps + 1, 2))])


def test_standing_beside_the_target_is_idle():
    assert engagement(trace(target=(1.0, 0.0, 0.8), in_view=True), success=False) == "idle"


def test_driving_away_from_the_target_is_idle():
    assert engagement(trace(base=drive(-1.0)), success=False) == "idle"


def test_near_the_target_counts_only_with_it_in_view():
    base = drive(3.5)
    assert engagement(trace(base=base, in_view=True), success=False) == "reached"
    assert engagement(trace(base=base, in_view=False), success=False) == "idle"


def test_near_before_it_moved_does_not_count():
    base = drive(0.6)
    base[:, 0] *= -1.0  # it starts within reach of sight, and leaves
    near = trace(base=base, target=(1.55, 0.0, 0.8), in_view=True)
    assert engagement(near, success=False) == "idle"


def test_the_hand_at_the_target_reaches_it_unseen():
    hand = np.column_stack([np.zeros(21), np.linspace(-0.3, -0.6, 21), np.full(21, 0.8)])
    assert engagement(trace(hand=hand, target=(0.0, -0.7, 0.8)), success=False) == "reached"
    assert engagement(trace(hand=hand, target=(0.0, -0.73, 0.8)), success=False) == "idle"


def test_holding_or_pushing_the_target_is_manipulation():
    assert engagement(trace(held=True), success=False) == "manipulated"
    pushed = np.tile(FAR, (21, 1))
    pushed[10:, 0] += 0.06
    assert engagement(trace(target=pushed), success=False) == "manipulated"
    pushed[10:, 0] -= 0.02
    assert engagement(trace(target=pushed), success=False) == "idle"


def test_success_is_the_top():
    assert engagement(trace(), success=True) == "success"


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        (drive(0.0), 1.0),
        (drive(4.0), 0.0),
        (np.concatenate([drive(1.0, 6), np.tile([1.0, 0.0, 0.0], (14, 1))]), 2.0 / 3.0),
    ],
)
def test_freeze_rate_is_the_share_of_three_second_windows_without_motion(base, expected):
    # 20 steps of 0.5 s: windows of 6 steps, three of them whole.
    assert freeze_rate(trace(base=base), 0.5) == pytest.approx(expected)


def test_turning_and_moving_the_hand_are_motion():
    turning = np.column_stack([np.zeros((21, 2)), np.radians(np.arange(21) * 6.0)])
    assert freeze_rate(trace(base=turning), 0.5) == 0.0
    hand = np.column_stack([np.zeros(21), np.full(21, -0.3), 0.8 + 0.02 * np.arange(21)])
    assert freeze_rate(trace(hand=hand), 0.5) == 0.0


def test_an_episode_shorter_than_a_window_has_no_freeze_rate():
    assert freeze_rate(trace(steps=5), 0.5) is None


def test_deadlock_is_more_than_five_seconds_without_motion():
    def stands(steps: int) -> Trace:
        base = np.concatenate([drive(1.0, 4), np.tile([1.0, 0.0, 0.0], (steps, 1)), drive(2.0, 3)])
        base[4 + steps + 1 :, 0] = 3.0 + np.arange(len(base) - 5 - steps)
        return trace(base=base, steps=len(base) - 1)

    assert is_deadlocked(stands(11), 0.5)
    assert not is_deadlocked(stands(10), 0.5)


def test_yaw_that_wraps_is_no_turn():
    base = np.tile([0.0, 0.0, math.pi - 0.001], (21, 1))
    base[1::2, 2] = -math.pi + 0.001
    assert freeze_rate(trace(base=base), 0.5) == 1.0


def test_dither_is_the_share_of_steps_that_undo_the_one_before():
    names = [
        "rotate_left",
        "rotate_right",
        "rotate_left",
        "move_ahead",
        "lift_up",
        "lift_down_small",
    ]
    assert dither(trace(tokens=[TOKENS[name] for name in names])) == pytest.approx(2.0 / 5.0)
    assert dither(trace(tokens=[TOKENS["end"]])) is None
