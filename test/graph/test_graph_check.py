"""`safevla up --check` against a real process that plays a robot, a good one and a faulty one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from safevla_ros.nodes.graph.process import programs_folder
from safevla_ros.paths import share_directory
from safevla_ros.robot.profile import profile_path

FAKE_ROBOT = Path(__file__).with_name("fake_robot.py")


@pytest.fixture
def profile(tmp_path) -> Path:
    """The profile that the good robot fits."""
    generic = share_directory() / "config" / "robots" / "generic.yaml"
    data = yaml.safe_load(generic.read_text())
    data["name"] = "fake"
    data["urdf"] = "sim/models/stretch_like.urdf"
    data["signals"]["scan"]["reliable"] = True
    data["cameras"][0].update(topic="camera/image", info_topic=None)
    data["outputs"]["joints"] = []
    data["outputs"]["stop_service"] = {"service": "stop"}
    path = tmp_path / "fake.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.fixture
def robot(domain):
    """Starts the robot."""
    started = []

    def start(kind: str) -> None:
        command = [sys.executable, str(FAKE_ROBOT), kind]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        assert started[-1].stdout.readline() == b"ready\n"

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=10.0)


def start_check(profile: Path | str, *options: str) -> subprocess.Popen[str]:
    """The command, which listens for some seconds."""
    command = [str(programs_folder() / "safevla"), "up", "--robot", str(profile), "--check"]
    return subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def check(profile: Path | str) -> tuple[int, dict]:
    """Exit code and the findings by key."""
    run = start_check(profile, "--json")
    out, err = run.communicate(timeout=90.0)
    assert out, err
    return run.returncode, json.loads(out)


def test_a_robot_that_fits_its_profile_has_no_faults(robot, profile):
    robot("good")
    code, answer = check(profile)
    assert (code, answer["faults"]) == (0, 0), answer
    required = {key for key, entry in answer["checks"].items() if entry["required"]}
    assert {answer["checks"][key]["verdict"] for key in required} == {"ok"}


def test_each_fault_is_named(robot, profile):
    robot("faulty")
    table = start_check(profile)
    code, answer = check(profile)
    assert code == 1
    verdicts = {key: entry["verdict"] for key, entry in answer["checks"].items()}
    assert verdicts["signals.joint_states"] == "stale"
    assert verdicts["signals.odometry"] == "wrong type"
    assert verdicts["signals.scan"] == "incompatible qos"
    assert verdicts["estop"] == "stale"
    assert verdicts["outputs.base"] == "missing"
    assert verdicts["outputs.base.publishers"] == "intruder"
    assert verdicts["outputs.stop_service"] == "wrong type"
    assert verdicts["cameras.navigation"] == "ok"
    assert "carry no stamp" in answer["checks"]["signals.joint_states"]["text"]
    text = answer["checks"]["signals.odometry"]["text"]
    assert "geometry_msgs/msg/TwistStamped, expected nav_msgs/msg/Odometry" in text

    out, _ = table.communicate(timeout=90.0)
    assert table.returncode == 1
    assert out.splitlines()[-1].endswith("faults")


def test_without_a_robot_everything_required_is_missing(domain, tmp_path):
    data = yaml.safe_load(profile_path("stretch").read_text())
    data["signals"]["scan"]["type"] = "sensor_msgs/msg/LaserScam"
    path = tmp_path / "stretch.yaml"
    path.write_text(yaml.safe_dump(data))
    code, answer = check(path)
    assert code == 1
    for key in ("signals.joint_states", "signals.odometry", "estop", "outputs.stop_service"):
        assert answer["checks"][key]["verdict"] == "missing"
    assert answer["checks"]["signals.objects"]["required"] is False
    scan = answer["checks"]["signals.scan"]
    assert scan["verdict"] == "missing"
    assert "message type sensor_msgs/msg/LaserScam: expected an installed" in scan["text"]
