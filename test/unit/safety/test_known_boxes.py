"""Which boxes links must keep off: whole, or what of them is not beside the instructed object."""

from __future__ import annotations

import numpy as np
import pytest

from safevla_ros.robot.geometry import from_yaw
from safevla_ros.robot.state import Pose, SceneObject
from safevla_ros.safety import Task
from safevla_ros.safety.known_boxes import CELL_M, boxes_to_avoid

RANGE_M = 0.15
TASK = Task(target_ids=("mug_1", "mug_2"), target_class="mug", task="pick_up")


def inside(boxes, points, slack_m=0.0):
    """Which points (M, 3) are in any of the boxes."""
    found = np.zeros(len(points), bool)
    for centre, half, turn in zip(boxes.centres, boxes.halves, boxes.turns, strict=True):
        found |= (np.abs((points - centre) @ turn) <= half + slack_m + 1e-9).all(axis=1)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_what_is_outside_the_range_is_kept_and_hardly_more(make_world, seed):
    rng = np.random.default_rng(seed)

    def thing(name, spread_m, size):
        place = tuple(rng.uniform(-spread_m, spread_m, 3) + (0.6, 0.0, 0.8))
        class_name = name.partition("_")[0]
        return SceneObject(name, class_name, Pose(place, from_yaw(rng.uniform(-3.0, 3.0))), size)

    things = [
        thing("mug_1", 0.2, (0.1, 0.1, 0.1)),
        thing("mug_2", 0.2, (0.08, 0.08, 0.12)),
        thing("tray_1", 0.1, tuple(rng.uniform(0.02, 0.9, 3))),
    ]
    objects = {entry.id: entry for entry in things}
    boxes, owners = boxes_to_avoid(make_world(objects=objects, task=TASK), RANGE_M)
    assert set(owners) <= {"tray_1"}
    world = make_world(objects=objects)
    mugs, tray = world.scene.boxes([0, 1]), world.scene.boxes([2])
    local = rng.uniform(-1.0, 1.0, (2000, 3)) * tray.halves[0]
    points = local @ tray.turns[0].T + tray.centres[0]
    is_kept = inside(boxes, points)
    assert is_kept[~inside(mugs, points, RANGE_M)].all()
    assert not is_kept[inside(mugs, points, RANGE_M - 2.0 * CELL_M)].any()


def test_without_a_task_every_loose_thing_is_kept_whole(make_world, make_object):
    things = {
        "mug_1": make_object("mug_1", 0.5, 0.0, 0.8),
        "vase_1": make_object("vase_1", 0.6, 0.0, 0.8, size=(0.2, 0.2, 0.4)),
        "held_1": make_object("held_1", 0.4, 0.0, 0.8, held=True),
        "far_1": make_object("far_1", 4.0, 0.0, 0.8),
    }
    boxes, owners = boxes_to_avoid(make_world(objects=things), RANGE_M)
    assert owners == ["mug_1", "vase_1"]
    assert boxes.halves.tolist() == [[0.05, 0.05, 0.05], [0.1, 0.1, 0.2]]
