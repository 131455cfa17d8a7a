"""`safevla bench stop --bags`: drives past and into what the scan shows, recorded by hand."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1]))

from bag_maker import BagMaker, all_types
from live_bag import TOPICS, TYPES, fill

from safevla_ros.bags import metadata as keys
from safevla_ros.cli.main import app
from safevla_ros.robot.geometry import planar
from safevla_ros.robot.messages import LaserScan
from safevla_ros.robot.state import BaseVelocity, Joint, Localisation, Odometry

SPEED_M_S, FOOTPRINT_M, RAYS = 0.4, 0.25, 72
JOINTS = {name: Joint(at, 0.0) for name, at in (("lift", 0.6), ("arm", 0.0), ("wrist_yaw", 2.8))}


def drive(
    folder, name, *, wall_m, brakes_m=math.inf, lasts_s=4.0, mode="", goes_on_s=math.inf, **said
):
    """A bag of a base that drives straight on, until `brakes_m` and from `goes_on_s` on again, with a
    wall before it at `wall_m`; of a monitor in that mode."""
    bag = BagMaker(
        all_types(),
        folder / name,
        **{keys.ROBOT: "sim", keys.TOPICS: json.dumps(TOPICS), **said},
    )
    if mode:
        status = bag.new("SafetyStatus")
        status.mode = getattr(status, mode)
        bag.put(10.0, "/safety_status", status)
    x, speed = 0.0, SPEED_M_S
    angles = 2.0 * math.pi / RAYS * np.arange(RAYS) - math.pi
    for tick in range(round(lasts_s / 0.04)):
        time_s = 10.0 + 0.04 * tick
        ranges = np.full(RAYS, math.inf)
        ahead = np.cos(angles) > 0.5
        ranges[ahead] = (wall_m - x) / np.cos(angles[ahead])
        scan = LaserScan("base_link", -math.pi, 2.0 * math.pi / RAYS, 0.01, 12.0, ranges)
        readings = {
            "joint_states": JOINTS | {"gripper": Joint(0.08, 0.0)},
            "contacts": (),
            "localisation": Localisation("map", planar(x, 0.0)),
            "scan": scan if tick % 3 == 0 else None,
            "odometry": Odometry("odom", planar(x, 0.0), BaseVelocity(speed)),
        }
        for signal, value in readings.items():
            if value is not None:
                bag.put(time_s, f"/{TYPES[signal][0]}", fill(bag, signal, value))
        brakes = x > brakes_m and time_s < goes_on_s
        speed = min(max(0.0, speed + (-1 if brakes else 1) * 0.04 * 1.5), SPEED_M_S)
        x += 0.04 * speed
    return bag.finish()


def judged(folder, exit_code=0):
    result = CliRunner().invoke(app, ["bench", "stop", "--bags", str(folder), "--json"])
    assert code_of(result) == exit_code, result.output
    return json.loads(result.stdout)


def code_of(result):
    return getattr(result.exception, "code", result.exit_code)


def test_a_drive_at_a_wall_is_held_back_in_time(tmp_path):
    drive(tmp_path, "wall", wall_m=1.6)
    report = judged(tmp_path)
    assert (report["came_too_near"], report["held_back_in_time"]) == (1, 1)
    assert report["stops"]["right"] == 1
    assert report["false_stops"] == 0.0
    assert report["not_judged"] < 0.05
    assert 0.0 < report["time_to_stop_s"]["p50"] < 0.6


def test_where_nothing_is_nothing_is_stopped(tmp_path):
    drive(tmp_path, "free", wall_m=6.0)
    report = judged(tmp_path)
    assert sum(report["stops"].values()) == report["came_too_near"] == 0


@pytest.mark.parametrize(("to_spare_m", "unknown"), [(0.17, 1), (0.35, 0)])
def test_a_robot_that_brakes_by_itself_makes_no_stop_a_false_one(tmp_path, to_spare_m, unknown):
    """It stands at 1 m, and needs 5 cm for that."""
    drive(tmp_path, "brakes", wall_m=1.0 + FOOTPRINT_M + to_spare_m, brakes_m=0.95)
    report = judged(tmp_path)
    assert report["came_too_near"] == 0
    assert report["stops"] == {"right": 0, "false": 0, "unknown": unknown}


def test_who_stood_in_between_is_stopped_anew(tmp_path):
    """It stands 0.17 m from where it would be too near, and sets out again."""
    drive(tmp_path, "twice", wall_m=1.42, brakes_m=0.95, goes_on_s=13.2, lasts_s=5.0)
    report = judged(tmp_path)
    assert report["stops"] == {"right": 1, "false": 0, "unknown": 1}
    assert (report["came_too_near"], report["held_back_in_time"]) == (1, 1)
    assert report["held_back_before_s"]["p50"] < 1.0  # by the second stop, not by the first


def test_a_clip_of_an_episode_that_is_there_is_no_other_drive(tmp_path):
    drive(tmp_path, "whole", wall_m=1.6, **{keys.EPISODE_ID: "e-1", keys.KIND: "episode"})
    drive(tmp_path, "clip", wall_m=1.6, **{keys.EPISODE_ID: "e-1", keys.KIND: "clip"})
    drive(tmp_path, "other", wall_m=1.6, **{keys.EPISODE_ID: "e-2", keys.KIND: "clip"})
    assert judged(tmp_path)["bags"] == 2


def test_what_cannot_be_judged_is_named_and_ends_nothing(tmp_path):
    drive(tmp_path, "good", wall_m=1.6, mode="OBSERVE")
    held = drive(tmp_path, "held", wall_m=1.6, mode="ENFORCE")
    unknown = drive(tmp_path, "unknown", wall_m=1.6, **{keys.ROBOT: "nobody"})
    empty = drive(tmp_path, "empty", wall_m=1.6, lasts_s=0.0)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "broken_0.mcap").write_bytes(b"no bag")
    report = judged(tmp_path, exit_code=1)
    assert report["bags"] == report["came_too_near"] == 1
    assert report["passed_over"].keys() == {str(path) for path in (held, unknown, empty, broken)}
    assert "enforce" in report["passed_over"][str(held)]
    assert "nobody" in report["passed_over"][str(unknown)]


def test_a_bag_that_was_cut_off_is_judged_as_far_as_it_goes_and_named(tmp_path):
    path = drive(tmp_path, "cut", wall_m=1.6)
    file = path / "cut_0.mcap"
    file.write_bytes(file.read_bytes()[:-2000])
    report = judged(tmp_path)
    assert report["bags"] == 1
    assert report["damaged"].keys() == {str(path)}


def test_where_no_bag_can_be_judged_the_input_is_bad(tmp_path):
    drive(tmp_path, "held", wall_m=1.6, mode="ENFORCE")
    result = CliRunner().invoke(app, ["bench", "stop", "--bags", str(tmp_path)])
    assert code_of(result) == 2
    assert not result.stdout


def test_a_folder_without_bags_is_refused(tmp_path):
    result = CliRunner().invoke(app, ["bench", "stop", "--bags", str(tmp_path)])
    assert result.exit_code != 0
    assert "expected a bag" in str(result.exception or result.output)
