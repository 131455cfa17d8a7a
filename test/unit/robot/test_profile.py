"""Robot profiles: what the schema refuses, and that it names file and key."""

from __future__ import annotations

import math

import pytest
import yaml

from safevla_ros.robot.profile import ProfileError, load_profile, profile_path


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("limits", "joints", "lift", "lower"), math.nan),
        (("limits", "joints", "lift", "upper"), math.inf),
        (("outputs", "driver_timeout_s"), math.inf),
        (("signals", "odometry", "max_age_s"), math.inf),
        (("roles", "gripper_open"), math.nan),
    ],
)
def test_numbers_must_be_finite(tmp_path, keys, value):
    data = yaml.safe_load(profile_path("sim").read_text(encoding="utf-8"))
    holder = data
    for key in keys[:-1]:
        holder = holder[key]
    holder[keys[-1]] = value
    path = tmp_path / "robot.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    with pytest.raises(ProfileError) as error:
        load_profile(str(path))
    assert f"{path}: {'.'.join(keys)}: Input should be a finite number" in str(error.value)


@pytest.mark.parametrize("name", ["joint states", "/scan/", "a//b", "/1st", "scan!", "", "/"])
def test_a_name_that_no_topic_can_have_is_refused(tmp_path, name):
    data = yaml.safe_load(profile_path("sim").read_text(encoding="utf-8"))
    data["signals"]["scan"]["topic"] = name
    path = tmp_path / "robot.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    with pytest.raises(ProfileError) as error:
        load_profile(str(path))
    said = str(error.value)
    assert said.startswith(f"{path}: signals.scan.topic: ")
    assert said.endswith(f"expected the name of a ROS topic, got {name!r}")


@pytest.mark.parametrize("name", ["scan", "/scan_filtered", "~/scan", "/front/scan_2"])
def test_a_topics_name_may_be_relative_absolute_or_private(tmp_path, name):
    data = yaml.safe_load(profile_path("sim").read_text(encoding="utf-8"))
    data["signals"]["scan"]["topic"] = name
    path = tmp_path / "robot.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    assert load_profile(str(path)).signals.scan.topic == name


@pytest.mark.parametrize(
    ("camera", "why"),
    [
        ({"compress": {"format": "png", "quality": 90}}, "quality: png has none"),
        ({"compress": {"format": "webp"}}, "Input should be 'jpeg' or 'png'"),
        ({"compress": {"format": "jpeg", "quality": 0}}, "greater than or equal to 1"),
        (
            {"type": "sensor_msgs/msg/CompressedImage", "compress": {"format": "jpeg"}},
            "compress: expected images of sensor_msgs/msg/Image",
        ),
    ],
)
def test_a_compression_that_cannot_be_had_is_refused(tmp_path, camera, why):
    data = yaml.safe_load(profile_path("sim").read_text(encoding="utf-8"))
    data["cameras"][0] |= camera
    path = tmp_path / "robot.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    with pytest.raises(ProfileError, match=why) as error:
        load_profile(str(path))
    assert f"{path}: cameras.0" in str(error.value)


def test_a_profile_says_under_which_topic_images_are_recorded(tmp_path):
    data = yaml.safe_load(profile_path("sim").read_text(encoding="utf-8"))
    data["cameras"][0]["compress"] = {"format": "png"}
    path = tmp_path / "robot.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    first, second = load_profile(str(path)).cameras
    assert first.recorded_topic == first.topic + "/compressed"
    assert second.recorded_topic == second.topic
