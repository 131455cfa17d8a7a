"""What is changed on the way from the cameras to the policy, and what stays as it is."""

from __future__ import annotations

import numpy as np
import pytest

from safevla_ros.assurance.sight import CAMERA_CHANGES, DROP_RATE, Sight
from safevla_ros.policy.interface import Observation
from safevla_ros.robot.state import BaseVelocity, Odometry, Pose


def observation(number: int, size: int = 4) -> Observation:
    image = np.random.default_rng(number).integers(0, 255, (size, size, 3), np.uint8)
    odometry = Odometry("odom", Pose((float(number), 0.0, 0.0)), BaseVelocity())
    return Observation(number, {"navigation": image}, {}, odometry, False)


def shown(change: str, steps: int, seed: int = 0) -> list[int | None]:
    """Which of the frames the policy got at each step; None: none of them as it was."""
    sight, frames = Sight(change, seed), [observation(i) for i in range(steps)]
    found: list[int | None] = []
    for frame in frames:
        image = sight.seen(frame).images["navigation"]
        same = [
            i for i, each in enumerate(frames) if np.array_equal(each.images["navigation"], image)
        ]
        found.append(same[0] if same else None)
    return found


def test_nothing_is_changed_where_nothing_is_to_be():
    assert shown("", 5) == [0, 1, 2, 3, 4]
    assert Sight("", 0).camera_moved == Pose((0.0, 0.0, 0.0))


def test_latency_is_a_step():
    assert shown("latency", 5) == [0, 0, 1, 2, 3]


def test_dropped_frames_leave_the_last_one():
    found = shown("dropped_frames", 200)
    assert found[0] == 0
    for before, now, step in zip(found, found[1:], range(1, 200), strict=False):
        assert now in (before, step)
    lost = np.mean([now != step for step, now in enumerate(found)])
    assert lost == pytest.approx(DROP_RATE, abs=0.1)
    assert shown("dropped_frames", 50) == shown("dropped_frames", 50)
    assert shown("dropped_frames", 50) != shown("dropped_frames", 50, seed=1)


def test_blur_smooths_and_blind_is_black():
    frame = observation(1, size=80)
    blurred = Sight("blur", 0).seen(frame).images["navigation"]
    assert np.std(np.diff(blurred.astype(float), axis=0)) < 0.9 * np.std(
        np.diff(frame.images["navigation"].astype(float), axis=0)
    )
    assert not Sight("blind", 0).seen(frame).images["navigation"].any()


def test_a_bumped_camera_is_three_centimetres_and_degrees_off():
    moved = Sight("camera_pose", 3).camera_moved
    assert np.linalg.norm(moved.position) == pytest.approx(0.03)
    assert 2.0 * np.degrees(np.arccos(moved.orientation[3])) == pytest.approx(3.0)
    assert moved != Sight("camera_pose", 4).camera_moved


@pytest.mark.parametrize("change", [*CAMERA_CHANGES, "blind"])
def test_only_images_are_changed(change):
    frame = observation(2)
    seen = Sight(change, 0).seen(frame)
    assert (seen.stamp_ns, seen.odometry, seen.joints) == (
        frame.stamp_ns,
        frame.odometry,
        frame.joints,
    )
