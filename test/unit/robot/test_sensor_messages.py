"""Point clouds, occupancy grids and detections as plain states, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace as Like

import numpy as np
import pytest

from safevla_ros.robot.messages import MessageError, read_signal
from safevla_ros.robot.state import Capsule, Pose
from safevla_ros.safety.obstacles import ObstacleModel


def pose(x=0.0, y=0.0, z=0.0):
    return Like(position=Like(x=x, y=y, z=z), orientation=Like(x=0.0, y=0.0, z=0.0, w=1.0))


def cloud(points, padding=4, **changes):
    """Points (N, 3) as one row, with an intensity after each, and padding after the row."""
    rows = np.column_stack([points, np.zeros(len(points))]).astype("<f4").tobytes()
    fields = [Like(name=name, offset=4 * i, datatype=7) for i, name in enumerate("xyzi")]
    given = {
        "header": Like(frame_id="base_link"),
        "fields": fields,
        "width": len(points),
        "height": 1,
        "point_step": 16,
        "row_step": len(rows) + padding,
        "is_bigendian": False,
        "data": rows + bytes(padding),
    }
    return Like(**{**given, **changes})


def test_a_cloud_is_its_finite_points():
    found = read_signal("points", cloud([[1.0, 2.0, 3.0], [np.nan, 0.0, 0.0], [4.0, 5.0, 6.0]]))
    assert found.frame == "base_link"
    assert found.points.tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"data": b"123"}, "data: expected 1 rows of 2 points"),
        ({"width": 9}, "data: expected 1 rows of 9 points"),
        ({"fields": []}, "fields: expected x as FLOAT32"),
        ({"point_step": 8}, "point_step: expected at least 12 bytes"),
    ],
)
def test_a_cloud_that_does_not_add_up_is_refused(changes, sentence):
    with pytest.raises(MessageError, match=sentence):
        read_signal("points", cloud([[1.0, 2.0, 3.0]] * 2, **changes))


def test_a_cloud_loses_floor_doubles_robot_and_what_is_far():
    robot = Capsule("mast", (0.0, 0.0, 0.2), (0.0, 0.0, 1.0), 0.1)
    points = [
        [1.0, 0.0, 0.01],  # floor
        [1.01, 0.01, 0.52], [1.011, 0.01, 0.521],  # the same thing twice
        [0.0, 0.12, 0.5],  # the robot itself
        [9.0, 0.0, 0.5],
    ]  # fmt: skip
    reading = read_signal("points", cloud(points))
    kept = ObstacleModel().clouded(reading, Pose((0.0, 0.0, 0.0)), (robot,))
    assert kept.shape == (1, 3)
    assert kept[0] == pytest.approx([1.01, 0.01, 0.52], abs=2e-3)


def test_occupied_cells_are_obstacles_and_unknown_ones_are_not():
    info = Like(width=3, height=2, resolution=0.5, origin=pose(1.0, 2.0))
    message = Like(header=Like(frame_id="map"), info=info, data=[0, 100, -1, 0, 0, 70])
    points = ObstacleModel().mapped(read_signal("grid", message))
    assert points[:, :2].tolist() == [[1.75, 2.25], [2.25, 2.75]]
    message.data = [0, 1]
    with pytest.raises(MessageError, match="data: expected 3 x 2 cells, got 2"):
        read_signal("grid", message)


def test_detections_are_objects_with_their_best_class_and_ids_that_differ():
    def detection(name, *hypotheses):
        results = [Like(hypothesis=Like(class_id=c, score=s)) for c, s in hypotheses]
        bbox = Like(center=pose(1.0), size=Like(x=0.1, y=0.2, z=0.3))
        return Like(id=name, results=results, bbox=bbox)

    message = Like(
        header=Like(frame_id="map"),
        detections=[
            detection("7", ("mug", 0.4), ("bowl", 0.6)),
            detection("7", ("mug", 0.9)),
            detection("", ("mug", 0.9)),
        ],
    )
    scene = read_signal("objects", message)
    assert [(o.id, o.class_name) for o in scene.objects] == [
        ("7", "bowl"), ("mug_1", "mug"), ("mug_2", "mug")
    ]  # fmt: skip
    assert scene.objects[0].size == (0.1, 0.2, 0.3)
    message.detections[0].results = []
    with pytest.raises(MessageError, match=r"detections\[0\].results"):
        read_signal("objects", message)
