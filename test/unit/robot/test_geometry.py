"""Transforms, against hand-computed cases and against each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safevla_ros.robot.geometry import (
    compose,
    from_yaw,
    inverse,
    moved,
    planar,
    rotate,
    rotation_matrix,
    transform_points,
    yaw_of,
)
from safevla_ros.robot.state import BaseVelocity, Pose

numbers = st.floats(-10.0, 10.0)
angles = st.floats(-3.0, 3.0)


@st.composite
def poses(draw):
    raw = np.array([draw(numbers) for _ in range(4)]) + [0.0, 0.0, 0.0, 1e-3]
    unit = raw / np.linalg.norm(raw) if np.linalg.norm(raw) > 1e-6 else np.array([0.0, 0, 0, 1])
    return Pose((draw(numbers), draw(numbers), draw(numbers)), tuple(unit.tolist()))


def test_a_frame_turned_left_by_90_degrees():
    left = planar(1.0, 2.0, math.pi / 2)
    assert compose(left, planar(1.0, 0.0)).position == pytest.approx((1.0, 3.0, 0.0))
    assert inverse(left).position == pytest.approx((-2.0, 1.0, 0.0))
    assert rotate(left.orientation, (0.0, 1.0, 5.0)) == pytest.approx((-1.0, 0.0, 5.0))
    points = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]])
    assert transform_points(left, points) == pytest.approx(np.array([[1, 3, 0.5], [0, 2, 0]]))


@given(angles)
def test_yaw_comes_back(yaw):
    assert yaw_of(from_yaw(yaw)) == pytest.approx(yaw, abs=1e-12)


@given(poses(), poses(), st.tuples(numbers, numbers, numbers))
def test_compose_is_what_points_and_matrices_say(a, b, point):
    both = compose(a, b)
    inner = rotate(b.orientation, point)
    moved_point = compose(a, compose(b, Pose(point))).position
    assert compose(both, Pose(point)).position == pytest.approx(moved_point, abs=1e-9)
    assert rotation_matrix(b.orientation) @ point == pytest.approx(inner, abs=1e-9)


@given(poses())
def test_a_pose_and_its_inverse_cancel(pose):
    assert compose(pose, inverse(pose)).position == pytest.approx((0, 0, 0), abs=1e-9)
    assert compose(inverse(pose), pose).position == pytest.approx((0, 0, 0), abs=1e-9)


@pytest.mark.parametrize(
    ("velocity", "duration_s", "expected"),
    [
        (BaseVelocity(x=0.5), 2.0, (1.0, 0.0, 0.0)),
        (BaseVelocity(y=0.5), 2.0, (0.0, 1.0, 0.0)),
        (BaseVelocity(yaw=1.0), 0.5, (0.0, 0.0, 0.5)),
        # a quarter of a circle with radius 1
        (BaseVelocity(x=math.pi / 2, yaw=math.pi / 2), 1.0, (1.0, 1.0, math.pi / 2)),
        (BaseVelocity(x=1.0), -1.0, (-1.0, 0.0, 0.0)),
    ],
)
def test_a_base_at_constant_velocity_goes_along_an_arc(velocity, duration_s, expected):
    end = moved(planar(0.0, 0.0), velocity, duration_s)
    assert (*end.position[:2], yaw_of(end.orientation)) == pytest.approx(expected, abs=1e-9)


@given(st.builds(BaseVelocity, numbers, numbers, angles), st.floats(0.0, 2.0))
def test_moving_on_and_back_returns(velocity, duration_s):
    there = moved(planar(1.0, 2.0, 0.3), velocity, duration_s)
    assert moved(there, velocity, -duration_s).position == pytest.approx((1, 2, 0), abs=1e-8)
