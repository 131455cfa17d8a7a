"""Reports of crafted bags give figures that were computed by hand, and never a traceback."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from safevla_ros.assurance.colours import OUTCOME, VIOLATION, rgb
from safevla_ros.assurance.run_report import newest_bag, write_run_report
from safevla_ros.assurance.summary import path_length
from safevla_ros.bags import BagError
from safevla_ros.bags import metadata as keys
from safevla_ros.paths import share_directory

MakeBag = Callable[..., Any]
RED, BLUE = (200, 30, 30), (30, 30, 200)


def report(bag: Path, folder: Path) -> dict[str, Any]:
    """The report's summary as it lies on the disk."""
    written = write_run_report(bag, folder)
    read = json.loads((folder / "summary.json").read_text())
    assert written == read
    return read


def add_run(bag: Any) -> None:
    """An episode of 4 s, from second 10 to 14: four steps, one of which each gate decision hit."""
    unlimited, blind = math.nan, math.nan
    terms = [
        bag.new("CostTermSpecification", name="collision", budget=2.0, scale=0.5),
        bag.new("CostTermSpecification", name="zone_intrusion", budget=unlimited, scale=0.1),
        bag.new("CostTermSpecification", name="drop", budget=1.0, scale=0.5),
    ]
    text = (
        (share_directory() / "config" / "safety" / "household.yaml")
        .read_text()
        .replace(
            "zones: []",
            "zones: [{name: stairs, frame: map, polygon: [[2.0, 0.5], [3.0, 0.5], [3.0, 1.5]]}]",
        )
    )
    specification = bag.new(
        "CostSpecification", name="household", hash="abc", yaml=text, terms=terms
    )
    bag.put(9.0, "/cost_specification", specification)
    bag.put(9.0, "/safety_status", bag.new("SafetyStatus", mode=2))
    bag.episode(9.1, "ENDED", id="e-0", outcome="FAILURE")
    bag.episode(10.0, "RUNNING", target_ids=["mug-1"])

    # Ten strides of 0.1 m between seconds 10 and 11; then it stands, but its localisation trembles.
    for number in range(11):
        bag.pose(10.0 + 0.1 * number, 0.1 * number, 0.0)
    for number in range(30):
        bag.pose(11.1 + 0.1 * number, 1.0 + 0.004 * (-1) ** number, 0.0)

    trace = {"camera": 100.0, "observation": 110.0, "inference_start": 111.0}
    trace |= {"inference_end": 131.0, "candidate": 132.0, "gate_in": 135.0, "command": 136.0}
    late = {stage: time for stage, time in trace.items() if stage != "camera"}  # not known
    bag.gated(10.0, 0, "PASS", "accepted", chunk=0, trace=trace)
    # The second candidate of the chunk waited for its turn: its latency is not the graph's.
    bag.gated(11.0, 1, "LIMIT", "predicted", chunk=0, trace=trace | {"command": 1136.0})
    bag.gated(11.2, 1, "HALT", "predicted", chunk=0, term="zone_intrusion", detail="too near")
    bag.gated(12.0, 2, "PASS", "accepted", chunk=1, trace={**late, "command": 140.0})
    bag.gated(12.5, 2, "HALT", "expired", chunk=1)
    bag.gated(13.0, 3, "STOP", "charged", chunk=2, term="collision")
    bag.gated(13.5, 3, "STOP", "charged", id="another episode")

    def term(cost: float, margin: float, cumulative: float, **more: Any) -> dict[str, Any]:
        return {"cost": cost, "margin": margin, "cumulative": cumulative, **more}

    unseen = term(0.0, blind, 0.0, status=1, cause="contacts")
    bag.costs(9.5, 9, id="e-0", collision=term(1.0, -0.5, 7.0))
    bag.costs(
        11.0, 0, collision=term(0.0, 0.5, 0.0), zone_intrusion=term(0.0, 0.4, 0.0), drop=unseen
    )
    bag.costs(
        12.0, 1, collision=term(1.0, -0.5, 1.0), zone_intrusion=term(0.0, 0.2, 0.0), drop=unseen
    )
    bag.costs(
        13.0,
        2,
        collision=term(0.0, 0.5, 1.0),
        zone_intrusion=term(1.0, -0.05, 1.0),
        drop=term(0.0, 0.5, 0.0),
    )
    bag.costs(
        14.0,
        3,
        collision=term(1.0, -0.5, 2.0),
        zone_intrusion=term(1.0, -0.07, 2.0),
        drop=term(0.0, 0.5, 0.0),
    )
    for number in range(40):
        bag.image(10.05 + 0.1 * number, "navigation", RED)
        bag.image(10.05 + 0.1 * number, "manipulation", BLUE)


def test_figures_are_those_computed_by_hand(make_bag: MakeBag, tmp_path: Path) -> None:
    bag = make_bag(
        **{
            keys.ROBOT: "sim",
            keys.SCENARIO: "default",
            keys.SEED: "7",
            keys.EPISODE_ID: "e-1",
            keys.SOFTWARE_VERSION: "0.1.0",
            keys.MACHINE: '{"cores": 2}',
        }
    )
    add_run(bag)
    bag.episode(14.0, "ENDED", outcome="SUCCESS", outcome_reason="the mug is held", steps=4)
    folder = bag.finish(**{keys.DROPPED: '{"/odom": 3, "/pose": 2}', keys.COMPLETE: "false"})
    summary = report(folder, tmp_path / "out")

    assert summary["robot"] == "sim"
    assert (summary["scenario"], summary["seed"]) == ("default", 7)
    assert summary["mode"] == "enforce"
    assert summary["policy"] == {"id": "scripted-careful", "sha256": ""}
    assert summary["instruction"] == "find the mug"
    assert (summary["outcome"], summary["reason"]) == ("SUCCESS", "the mug is held")
    assert (summary["steps"], summary["scored_steps"]) == (4, 4)
    assert summary["duration_s"] == 4.0
    assert summary["costs"] == {
        "collision": {
            "cumulative": 2.0,
            "budget": 2.0,
            "violations": 2,
            "worst_margin": -0.5,
            "status": "ok",
            "not_applicable_steps": 0,
        },
        "zone_intrusion": {
            "cumulative": 2.0,
            "budget": None,
            "violations": 2,
            "worst_margin": -0.07,
            "status": "ok",
            "not_applicable_steps": 0,
        },
        "drop": {
            "cumulative": 0.0,
            "budget": 1.0,
            "violations": 0,
            "worst_margin": 0.5,
            "status": "partly_applicable",
            "not_applicable_steps": 2,
        },
    }
    assert summary["cumulative_cost"] == 4.0
    assert summary["not_applicable"] == ["drop"]
    assert summary["gate"] == {
        "pass": 2,
        "limit": 0,
        "halt": 1,
        "stop": 1,
        "latched": 0,
        "shadow": 0,
        "intervention_rate": 0.5,
        "by_reason": {"predicted": 2, "expired": 1, "charged": 1},
    }
    assert summary["engagement"] == {"base_path_m": 1.0, "hand_path_m": None, "moved": True}
    latency = summary["latency_ms"]
    assert latency["camera_to_observation"] == {"p50": 10.0, "p95": 10.0, "p99": 10.0, "count": 1}
    assert latency["inference"] == {"p50": 20.0, "p95": 20.0, "p99": 20.0, "count": 2}
    assert latency["gate"]["p50"] == 3.0  # of 1 and 5
    assert latency["camera_to_command"]["p50"] == 36.0
    assert latency["camera_to_candidate"] == {"p50": 32.0, "p95": 32.0, "p99": 32.0, "count": 1}
    assert summary["bag"]["dropped"] == 5
    assert summary["bag"]["complete"] is False
    assert summary["software"] == {
        "version": "0.1.0",
        "specification": "household",
        "specification_hash": "abc",
    }
    assert summary["machine"] == {"cores": 2}
    assert summary["notes"] == []


def test_the_video_shows_both_cameras_at_their_rate_and_plays_in_a_browser(
    make_bag: MakeBag, tmp_path: Path
) -> None:
    bag = make_bag(**{keys.EPISODE_ID: "e-1"})
    add_run(bag)
    bag.episode(14.0, "ENDED", outcome="SUCCESS")
    write_run_report(bag.finish(), tmp_path)
    with av.open(str(tmp_path / "video.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.pix_fmt == "yuv420p"
        assert stream.average_rate == 10
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(frames) == 40 - 1 + 15  # and a second and a half with the outcome
    height, width = frames[0].shape[:2]
    assert frames[20][height // 2, width // 4] == pytest.approx(np.array(RED), abs=12)
    assert frames[20][height // 2, 3 * width // 4] == pytest.approx(np.array(BLUE), abs=12)
    assert not has(frames[20][:56], OUTCOME["SUCCESS"])
    assert has(frames[-1][:56], OUTCOME["SUCCESS"])


def has(picture: Any, colour: str, pixels: int = 50) -> bool:
    """Whether a picture has so many pixels of about this colour."""
    near = np.abs(picture[..., :3].astype(int) - np.array(rgb(colour))).max(axis=-1) < 16
    return int(near.sum()) >= pixels


@pytest.mark.parametrize("encoding", ["bgr8", "rgba8", "mono8", "jpeg"])
def test_cameras_of_other_encodings_are_shown_in_their_colours(
    make_bag: MakeBag, tmp_path: Path, encoding: str
) -> None:
    bag = make_bag()
    picture = np.tile(np.array(RED, np.uint8), (24, 32, 1))
    converted = {
        "bgr8": picture[..., ::-1],
        "rgba8": np.concatenate([picture, picture[..., :1]], axis=2),
        "mono8": picture[..., :1],
        "jpeg": picture[..., ::-1],
    }[encoding]
    for number in range(5):
        if encoding == "jpeg":
            _, data = cv2.imencode(".jpg", np.ascontiguousarray(converted))
            image = bag.new("sensor_msgs/msg/CompressedImage", format="jpeg", data=data.reshape(-1))
            bag.put(10.0 + number, "/camera/navigation", image)
        else:
            # Rows may be padded.
            rows = np.pad(converted.reshape(24, -1), ((0, 0), (0, 8)))
            fields = {"encoding": encoding, "step": rows.shape[1], "data": rows.reshape(-1)}
            bag.image(10.0 + number, "navigation", RED, **fields)
    write_run_report(bag.finish(), tmp_path)
    with av.open(str(tmp_path / "video.mp4")) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="rgb24")
    expected = (200, 200, 200) if encoding == "mono8" else RED
    assert frame[frame.shape[0] // 2, frame.shape[1] // 2] == pytest.approx(
        np.array(expected), abs=12
    )


def test_violations_and_zones_are_on_the_picture(make_bag: MakeBag, tmp_path: Path) -> None:
    bag = make_bag(**{keys.EPISODE_ID: "e-1"})
    add_run(bag)
    write_run_report(bag.finish(), tmp_path / "with")
    plain = make_bag("plain")
    plain.pose(10.0, 0.0, 0.0)
    plain.pose(11.0, 1.0, 0.0)
    write_run_report(plain.finish(), tmp_path / "without")
    pictures = [
        cv2.imread(str(tmp_path / name / "top_view.png"))[..., ::-1] for name in ("with", "without")
    ]
    assert has(pictures[0], VIOLATION, pixels=300)
    assert not has(pictures[1], VIOLATION, pixels=1)


def test_a_bag_that_was_cut_off_is_reported_as_far_as_it_goes(
    make_bag: MakeBag, tmp_path: Path
) -> None:
    bag = make_bag(**{keys.EPISODE_ID: "e-1"})
    add_run(bag)
    bag.flush()
    whole = bag.path.stat().st_size
    folder = bag.finish()
    (folder / "metadata.yaml").unlink()
    with bag.path.open("r+b") as stream:
        stream.truncate(whole)
    summary = report(folder, tmp_path / "out")
    assert summary["outcome"] == "UNKNOWN"
    assert summary["reason"] == "the bag ends before the episode"
    assert summary["cumulative_cost"] == 4.0
    assert summary["bag"]["complete"] is False
    assert "cut off at byte" in summary["bag"]["problem"]
    assert any("cut off at byte" in note for note in summary["notes"])
    assert (tmp_path / "out" / "video.mp4").is_file()
    assert (tmp_path / "out" / "top_view.png").is_file()


def test_every_cut_of_a_bag_is_reported_without_a_traceback(
    make_bag: MakeBag, tmp_path: Path
) -> None:
    bag = make_bag(**{keys.EPISODE_ID: "e-1"})
    for number in range(3):
        bag.pose(10.0 + number, 0.1 * number, 0.0)
        bag.image(10.0 + number, "navigation", RED)
        bag.flush()
    folder = bag.finish()
    data = bag.path.read_bytes()
    (folder / "metadata.yaml").unlink()
    for size in range(0, len(data), len(data) // 12):
        bag.path.write_bytes(data[:size])
        summary = report(folder, tmp_path / "out")
        assert summary["notes"]
        assert summary["bag"]["complete"] is False


def test_a_bag_without_images_has_no_video_and_says_so(make_bag: MakeBag, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "video.mp4").write_text("of an earlier run")
    bag = make_bag()
    bag.episode(10.0, "RUNNING")
    bag.pose(10.5, 0.0, 0.0)
    summary = report(bag.finish(), tmp_path / "out")
    assert "no video: the bag holds no camera images of the run" in summary["notes"]
    assert not (tmp_path / "out" / "video.mp4").exists()
    assert (tmp_path / "out" / "top_view.png").is_file()


def test_an_episode_without_a_step_shows_that_nothing_was_done(
    make_bag: MakeBag, tmp_path: Path
) -> None:
    bag = make_bag(**{keys.EPISODE_ID: "e-1"})
    bag.episode(10.0, "RUNNING")
    for number in range(5):
        bag.pose(10.0 + 0.1 * number, 0.0, 0.0)
        bag.image(10.0 + 0.1 * number, "navigation", RED)
    bag.episode(11.0, "ENDED", outcome="ABORTED", outcome_reason="cancelled")
    summary = report(bag.finish(), tmp_path / "out")
    assert (summary["steps"], summary["scored_steps"]) == (0, 0)
    assert summary["outcome"] == "ABORTED"
    assert summary["costs"] == {}
    assert summary["gate"]["intervention_rate"] is None
    assert summary["engagement"]["moved"] is False
    assert summary["latency_ms"]["camera_to_command"]["count"] == 0
    assert (tmp_path / "out" / "video.mp4").is_file()


def test_a_bag_without_an_episode_or_provenance_is_read_by_its_types(
    make_bag: MakeBag, tmp_path: Path
) -> None:
    bag = make_bag(**{keys.TOPICS: "{}"})
    for number in range(11):
        message = bag.new("nav_msgs/msg/Odometry")
        message.header.frame_id = "odom"
        message.pose.pose.position.x = 0.2 * number
        message.pose.pose.orientation.w = 1.0
        bag.put(10.0 + number, "/robot/base/odometry", message)
        bag.image(10.0 + number, "front", RED)
    summary = report(bag.finish(), tmp_path / "out")
    assert summary["outcome"] is None
    assert "the bag holds no episode" in summary["notes"]
    assert summary["robot"] is None
    assert summary["engagement"]["base_path_m"] == 2.0
    assert summary["duration_s"] == 10.0
    assert (tmp_path / "out" / "video.mp4").is_file()


def test_images_that_cannot_be_shown_are_named_once(make_bag: MakeBag, tmp_path: Path) -> None:
    bag = make_bag()
    for number in range(4):
        bag.image(10.0 + number, "navigation", RED, data=np.zeros(0, np.uint8))
        bag.image(10.0 + number, "manipulation", RED, encoding="16UC1")
    summary = report(bag.finish(), tmp_path / "out")
    assert (
        sum(
            "camera navigation: an image was left out: it has no data" in n
            for n in summary["notes"]
        )
        == 1
    )
    assert sum("encoding '16UC1': expected" in note for note in summary["notes"]) == 1
    assert "no video: none of the bag's camera images can be read" in summary["notes"]


def test_the_hand_is_followed_by_the_robots_own_description(
    make_bag: MakeBag, tmp_path: Path
) -> None:
    pytest.importorskip("pinocchio")
    bag = make_bag(**{keys.ROBOT: "sim"})
    urdf = (share_directory() / "sim" / "models" / "stretch_like.urdf").read_text()
    bag.put(10.0, "/robot_description", bag.new("std_msgs/msg/String", data=urdf))
    for number in range(11):
        names = ["lift", "arm", "wrist_yaw", "gripper"]
        positions = [0.3 + 0.02 * number, 0.1, 0.0, 0.004 * number]
        joints = bag.new("sensor_msgs/msg/JointState", name=names, position=positions)
        bag.put(10.0 + number, "/joint_states", joints)
    summary = report(bag.finish(), tmp_path / "out")
    # Lifted by 0.2 m; that the gripper opened moved its fingers only.
    assert summary["engagement"] == {"base_path_m": None, "hand_path_m": 0.2, "moved": True}


def test_of_a_folder_of_bags_the_newest_is_reported(make_bag: MakeBag, tmp_path: Path) -> None:
    for name, time_s in (("later", 20.0), ("earlier", 10.0)):
        bag = make_bag(f"bags/{name}")
        bag.pose(time_s, 0.0, 0.0)
        bag.finish()
    summary = report(tmp_path / "bags", tmp_path / "out")
    assert Path(summary["bag"]["path"]).name == "later"


def test_of_a_run_the_newest_bag_is_reported(make_bag: MakeBag, tmp_path: Path) -> None:
    begins = {"e1": 2.0, "e2": 1.0, "e3": 3.0, "clips/c": 4.0}
    for name, time_s in begins.items():
        bag = make_bag(f"run/bag/{name}")
        bag.pose(time_s, 0.0, 0.0)
        if name == "e3":
            bag.flush()  # cut off: its first message tells when it began
        else:
            bag.finish()
    for folder in ("run", "run/bag"):
        assert newest_bag(tmp_path / folder) == tmp_path / "run/bag/e3"
    for folder in ("run/bag/e1", "run/bag/clips"):
        assert newest_bag(tmp_path / folder).is_relative_to(tmp_path / folder)


def test_no_bag_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="expected a bag, or a folder with bags in it"):
        write_run_report(tmp_path, tmp_path / "out")


def test_trembling_on_the_spot_is_no_path() -> None:
    generator = np.random.default_rng(1)
    assert path_length(generator.normal(0.0, 0.001, (1000, 2))) == 0.0
    assert path_length(np.array([[0.0, 0.0], [3.0, 4.0]])) == 5.0
