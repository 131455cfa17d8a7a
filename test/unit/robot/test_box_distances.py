"""Distances between hulls and boxes that are turned any way, against Coal's and a fine comb's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safevla_ros.robot.geometry import Boxes, box_distances, rotation_matrices

ROUNDING = 1e-9
"""No distance is larger than the true one, or smaller, by more than this [m]."""
COALS = 5e-6
"""Coal's are this exact at least [m]."""
SIDES = [0.0, -0.1, 0.1, 0.3]
coordinates = st.one_of(st.sampled_from(SIDES), st.floats(-1.0, 1.0))
points = st.tuples(*[coordinates] * 3).map(np.array)
edges = st.tuples(*[st.one_of(st.sampled_from([0.0, 0.1]), st.floats(0.0, 0.6))] * 3).map(np.array)
thick = edges.map(lambda halves: np.maximum(halves, 0.01))
"""Of boxes without a volume Coal knows no depth."""
turns = st.one_of(
    st.just((0.0, 0.0, 0.0, 1.0)),
    st.tuples(*[st.floats(-1.0, 1.0)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1),
).map(lambda q: np.array(q) / np.linalg.norm(q))


def distance(start, end, centre, halves, turn):
    boxes = Boxes(centre[None], halves[None], rotation_matrices(turn[None]))
    return float(box_distances(start[None, None], end[None, None], boxes)[0, 0])


def combed(start, end, centre, halves, turn):
    """The least distance of a thousand points of the segment."""
    shares = np.linspace(0.0, 1.0, 1001)[:, None]
    local = (start + shares * (end - start) - centre) @ rotation_matrices(turn[None])[0]
    outside = np.maximum(np.abs(local) - halves, 0.0)
    return float(np.sqrt((outside**2).sum(axis=1)).min())


@settings(max_examples=100, deadline=None, derandomize=True)
@given(points, points, points, edges, turns)
def test_no_point_of_a_segment_is_nearer_and_one_is_as_near(start, end, centre, halves, turn):
    found, comb = (f(start, end, centre, halves, turn) for f in (distance, combed))
    spacing = np.linalg.norm(end - start) / 1000
    assert comb - spacing - ROUNDING <= max(found, 0.0) <= comb + ROUNDING


@settings(max_examples=100, deadline=None, derandomize=True)
@given(points, points, points, thick, turns)
def test_distances_are_those_of_coal(start, end, centre, halves, turn):
    """And depths, of segments that cross a box."""
    coal = pytest.importorskip("coal", reason="coal is not installed: pip install pin")
    along = end - start
    length = np.linalg.norm(along)
    upright = along / length if length > 1e-9 else np.array([0.0, 0.0, 1.0])
    aside = np.cross(upright, np.eye(3)[np.abs(upright).argmin()])
    aside /= np.linalg.norm(aside)
    axes = np.stack([aside, np.cross(upright, aside), upright], axis=1)
    radius, result = 0.05, coal.DistanceResult()
    theirs = coal.distance(
        coal.Capsule(radius, length),
        coal.Transform3s(axes, 0.5 * (start + end)),
        coal.Box(*(2.0 * halves)),
        coal.Transform3s(rotation_matrices(turn[None])[0], centre),
        coal.DistanceRequest(),
        result,
    )
    ours = distance(start, end, centre, halves, turn) - radius
    assert ours == pytest.approx(theirs, abs=COALS)


def test_depth_is_how_far_a_box_must_be_pushed():
    upright, halves = np.array([0.0, 0.0, 0.0, 1.0]), np.array([0.2, 0.2, 0.2])
    start, end = np.array([0.15, 0.0, -1.0]), np.array([0.15, 0.0, 1.0])
    assert distance(start, end, np.zeros(3), halves, upright) == pytest.approx(-0.05)
    assert distance(start, end, np.array([-0.05, 0.0, 0.0]), halves, upright) == pytest.approx(0.0)


def test_each_segment_meets_each_box_of_its_column():
    rng = np.random.default_rng(3)
    starts, ends = rng.normal(size=(2, 4, 5, 3))
    quaternions = rng.normal(size=(5, 4))
    quaternions /= np.linalg.norm(quaternions, axis=1)[:, None]
    centres, halves = rng.normal(size=(5, 3)), rng.uniform(0.05, 0.3, (5, 3))
    found = box_distances(starts, ends, Boxes(centres, halves, rotation_matrices(quaternions)))
    for k in range(4):
        for p in range(5):
            alone = distance(starts[k, p], ends[k, p], centres[p], halves[p], quaternions[p])
            assert found[k, p] == pytest.approx(alone, abs=1e-12)
