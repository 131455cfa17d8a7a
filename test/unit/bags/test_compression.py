"""Images that a profile wants compressed: what is in the bag, who reads it, and that nobody waits."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from bag_maker import TOPICS
from live_bag import TOPICS as SIGNALS
from live_bag import Live

from safevla_ros.assurance.run_report import write_run_report
from safevla_ros.bags import RawMessage
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.checking import check
from safevla_ros.bags.compression import IMAGE, image_encoder
from safevla_ros.bags.dataset import EpisodeDataset
from safevla_ros.bags.definitions import Definition
from safevla_ros.bags.mcap_file import Topic
from safevla_ros.bags.metadata import nested
from safevla_ros.bags.own_messages import message_types, new_message, own_topic, to_cdr
from safevla_ros.bags.reader import Bag
from safevla_ros.bags.recorder import Recorder
from safevla_ros.bags.scoring import score
from safevla_ros.bags.tensors import read_tensors
from safevla_ros.bags.writer import BagWriter, Limits
from safevla_ros.robot.kinematics import Kinematics
from safevla_ros.robot.messages import set_stamp, stamp_ns
from safevla_ros.robot.pictures import read_image
from safevla_ros.robot.profile import Compression, load_profile, urdf_path
from safevla_ros.safety.specification import load_specification

JPEG, PNG = Compression(format="jpeg", quality=95), Compression(format="png")
SMOOTH = cv2.resize(
    np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8), (64, 48)
)  # rgb
DEEP = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 21
CAMERA = "/camera/navigation"
UNGUARDED = Limits(min_free_bytes=0)


def image(pixels: np.ndarray, encoding: str, *, padding: int = 0, big: bool = False) -> Any:
    kind = pixels.dtype.newbyteorder(">" if big else "<")
    rows = pixels.astype(kind).reshape(48, -1).view(np.uint8)
    data = np.pad(rows, ((0, 0), (0, padding)))
    message = new_message(IMAGE, height=48, width=64, encoding=encoding, is_bigendian=int(big))
    message.step, message.data = data.shape[1], data.reshape(-1)
    message.header.frame_id = "optical"
    set_stamp(message.header.stamp, 12_345_678_901)
    return message


def encoded(message: Any, how: Compression) -> Any:
    return message_types().deserialize_cdr(image_encoder(how)(to_cdr(message)), Compression.TYPE)


def test_an_image_keeps_its_stamp_frame_and_colours() -> None:
    for encoding, pixels in {
        "rgb8": SMOOTH,
        "bgr8": SMOOTH[..., ::-1],
        "rgba8": np.dstack([SMOOTH, SMOOTH[..., 0]]),
        "bgra8": np.dstack([SMOOTH[..., ::-1], SMOOTH[..., 0]]),
    }.items():
        exact = encoded(image(pixels, encoding, padding=5), PNG)
        assert stamp_ns(exact.header.stamp) == 12_345_678_901
        assert exact.header.frame_id == "optical"
        assert exact.format == f"{encoding}; png compressed bgr8"
        np.testing.assert_array_equal(read_image(exact), SMOOTH)
        near = encoded(image(pixels, encoding), JPEG)
        assert near.format == f"{encoding}; jpeg compressed bgr8"
        assert np.abs(read_image(near).astype(int) - SMOOTH).mean() < 3.0


def test_quality_decides_on_the_size() -> None:
    sizes = [
        len(encoded(image(SMOOTH, "rgb8"), Compression(format="jpeg", quality=quality)).data)
        for quality in (20, None, 100)
    ]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("big", [False, True])
def test_png_keeps_depth_to_the_millimetre(big: bool) -> None:
    message = encoded(image(DEEP, "16UC1", big=big), PNG)
    np.testing.assert_array_equal(cv2.imdecode(message.data, cv2.IMREAD_UNCHANGED), DEEP)


@pytest.mark.parametrize(
    ("message", "how", "why"),
    [
        (image(DEEP, "16UC1"), JPEG, "8 bits a channel"),
        (image(DEEP.astype(np.float32), "32FC1"), PNG, "got '32FC1'"),
        (new_message(IMAGE, height=4, width=4, step=12, encoding="rgb8"), PNG, "0 bytes, expected"),
    ],
)
def test_what_cannot_be_compressed_is_refused(message: Any, how: Compression, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        image_encoder(how)(to_cdr(message))
    with pytest.raises(ValueError, match=f"no {IMAGE}"):
        image_encoder(how)(b"rubbish")


def recorded_as(how: Compression, source: str = CAMERA) -> Topic:
    name = source + Compression.SUFFIX
    plain = own_topic(name, Compression.TYPE)
    return Topic(
        name, plain.type, plain.definition, plain.qos, source=source, encode=image_encoder(how)
    )


def raw(message: Any, number: int = 0) -> RawMessage:
    at_ns = 1_700_000_000 * 10**9 + number * 10**8
    return RawMessage(CAMERA, to_cdr(message), at_ns, at_ns - 1000)


def test_nobody_waits_for_the_encoding_and_what_is_too_much_is_counted(tmp_path: Path) -> None:
    """Of an encoder that does not answer: the queue stays within its bound, and all is counted."""
    answers, threads = threading.Event(), set()
    encode = image_encoder(PNG)

    def slow(data: bytes) -> bytes:
        threads.add(threading.get_ident())
        answers.wait(20.0)
        return encode(data)

    plain = recorded_as(PNG)
    topic = Topic(plain.name, plain.type, plain.definition, source=CAMERA, encode=slow)
    writer = BagWriter(
        tmp_path / "bag", {}, limits=Limits(queue_bytes=10 * 9_500, min_free_bytes=0)
    )
    writer.add_topic(topic)
    messages = [raw(image(SMOOTH, "rgb8"), number) for number in range(30)]
    taken = [message for message in messages if writer.write(message)]
    assert len(taken) == 10, "the bound is in bytes as they came"
    answers.set()
    writer.finish()
    assert writer.wait(20.0)
    assert threading.get_ident() not in threads
    bag = Bag(tmp_path / "bag")
    stored = list(bag.messages())
    assert [m.log_time_ns for m in stored] == [m.log_time_ns for m in taken]
    assert {m.topic for m in stored} == {CAMERA + "/compressed"}
    assert writer.progress.dropped == 20
    assert json.loads(bag.provenance[keys.DROPPED]) == {CAMERA + "/compressed": 20}


def test_an_image_that_cannot_be_encoded_is_counted_and_named(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / "bag", {}, limits=UNGUARDED)
    writer.add_topic(recorded_as(JPEG))
    for number, pixels in enumerate([SMOOTH, DEEP, SMOOTH]):
        writer.write(raw(image(pixels, "rgb8" if pixels is SMOOTH else "16UC1"), number))
    writer.finish()
    assert writer.wait(20.0)
    assert writer.progress.problem == ""
    assert f"{CAMERA}: not recorded: jpeg holds 8 bits" in writer.progress.unencodable
    assert (writer.progress.messages, writer.progress.dropped) == (2, 1)
    assert not check(tmp_path / "bag").sound


def again_compressed(source: Path, target: Path, how: Compression, roles: dict[str, str]) -> Path:
    """What the recorder makes of a bag's messages when the profile wants the cameras compressed."""
    bag = Bag(source)
    messages = list(bag.messages())
    cameras = {topic for topic, info in bag.topics.items() if info.type == IMAGE}
    topics = [
        recorded_as(how, name)
        if name in cameras
        else Topic(name, info.type, Definition(info.definition))
        for name, info in bag.topics.items()
    ]
    recorder = Recorder(target.parent, topics, UNGUARDED, "")
    said = {role: name + "/compressed" * (name in cameras) for role, name in roles.items()}
    writer = recorder.begin(target.name, bag.provenance | {keys.TOPICS: json.dumps(said)})
    for message in messages:
        recorder.take(message)
    outcome = {keys.OUTCOME: "SUCCESS"}
    recorder.end(writer, outcome)
    assert writer.wait(20.0)
    assert writer.progress.dropped == 0
    return target


@pytest.mark.parametrize("how", [JPEG, PNG])
def test_every_reader_takes_a_compressed_bag_for_what_it_is(
    make_bag: Callable[..., Any], tmp_path: Path, how: Compression
) -> None:
    bag = make_bag("raw", robot="sim")
    live = Live(bag, load_specification("household"))
    for number in range(10):
        for camera in ("navigation", "manipulation"):
            bag.image(1.0 + 0.1 * number, camera, (200, 30, 30))
    roles = {k: v for k, v in TOPICS.items() if k.startswith("cameras.")} | SIGNALS
    folder = again_compressed(bag.finish(), tmp_path / "compressed", how, roles)

    read = Bag(folder)
    tensors = [tensor for _, tensor in read_tensors(read, CAMERA + "/compressed", 12, 16)]
    assert len(tensors) == 10
    assert np.abs(tensors[0][:, 5, 5].astype(int) - (200, 30, 30)).max() < 12
    assert read.damage == []
    assert nested(read.provenance, keys.TOPICS)["cameras.navigation"] == CAMERA + "/compressed"

    faults = [finding.what for finding in check(folder).findings if finding.fault]
    assert faults == []

    profile = load_profile("sim")
    scored = score(read, profile, Kinematics(urdf_path(profile)))
    assert [step.costs for step in scored.steps] == live.steps


def test_the_video_of_a_run_is_made_of_compressed_images_too(
    make_bag: Callable[..., Any], tmp_path: Path
) -> None:
    bag = make_bag("raw")
    bag.episode(10.0, "RUNNING")
    for number in range(5):
        bag.image(10.0 + 0.1 * number, "navigation", (200, 30, 30))
    bag.episode(11.0, "ENDED", outcome="SUCCESS")
    folder = again_compressed(bag.finish(), tmp_path / "bag", JPEG, {"cameras.navigation": CAMERA})
    write_run_report(folder, tmp_path / "report")
    with av.open(str(tmp_path / "report" / "video.mp4")) as video:
        frame = next(iter(video.decode(video=0))).to_ndarray(format="rgb24")
    middle = frame[frame.shape[0] // 2, frame.shape[1] // 2]
    assert np.abs(middle.astype(int) - (200, 30, 30)).max() < 16


def test_training_data_is_what_the_policy_saw_whatever_is_compressed(
    make_bag: Callable[..., Any], tmp_path: Path
) -> None:
    """The Observation holds the pictures at the policy's resolution, untouched."""
    bag = make_bag("raw", episode_id="e-1")
    bag.episode(0.9, "RUNNING")
    seen = new_message(IMAGE, height=48, width=64, step=192, encoding="rgb8", data=SMOOTH.ravel())
    bag.image(1.0, "navigation", (1, 2, 3))
    bag.put(1.0, "/observation", bag.new("Observation", camera_names=["eye"], images=[seen]))
    bag.put(1.0, "/action_chunk", bag.new("ActionChunk", episode_id="e-1", tokens=np.array([3])))
    bag.gated(1.1, 0, "PASS", "accepted")
    bag.costs(1.5, 0, drop={"cost": 0.0})
    folder = again_compressed(bag.finish(), tmp_path / "compressed", JPEG, {})
    [sample] = EpisodeDataset.open(folder)
    np.testing.assert_array_equal(sample["observation.images.eye"], SMOOTH)
    assert sample["reward"] == 10.0
