"""The camera ingest as a process, in front of cameras that are made of messages."""

from __future__ import annotations

import array
import time
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry
from rclpy.qos import qos_profile_sensor_data
from robot import write_profile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState
from simulated import Diagnostics

from safevla_ros.msg import CameraStatus, Observation, SceneObject, SceneObjects
from safevla_ros.nodes import topics
from safevla_ros.robot.messages import set_stamp, stamp_ns

MS = 1_000_000
HEIGHT, WIDTH = 48, 64
SIZE = 24


class Cameras:
    """Two cameras, joints, odometry and objects, published when a test says so."""

    def __init__(self, graph, folder, kind: type = Image, **profile: Any) -> None:
        self.graph = graph
        self.kind = kind
        self.profile = write_profile(folder, **profile)
        node = graph.node
        self.observations = graph.collect(Observation, topics.OBSERVATION)
        self.diagnostics = Diagnostics(graph, "camera_ingest")
        names = ("navigation", "manipulation")
        self.images = {
            name: node.create_publisher(kind, f"camera/{name}/image", qos_profile_sensor_data)
            for name in names
        }
        self.infos = {
            name: node.create_publisher(
                CameraInfo, f"camera/{name}/camera_info", qos_profile_sensor_data
            )
            for name in names
        }
        self.joints = node.create_publisher(JointState, "joint_states", 50)
        self.odometry = node.create_publisher(Odometry, "odom", 50)
        self.objects = node.create_publisher(SceneObjects, "scene_objects", 10)
        self._random = np.random.default_rng(0)

    def start(self, **parameters: Any):
        """The node under test, listening."""
        parameters = {"image_height": SIZE, "image_width": SIZE} | parameters
        node = self.graph.start("camera_ingest", robot=self.profile, **parameters).bring_up()
        for publisher in (*self.images.values(), self.joints, self.odometry):
            self.graph.wait_matched(publisher)
        return node

    def body(self, stamp: int, effort: float = 0.0, gripper: float = 0.04) -> None:
        """Joint states and odometry of one time."""
        joints = JointState(name=["lift", "gripper"], position=[0.5, gripper], effort=[0.0, effort])
        set_stamp(joints.header.stamp, stamp)
        self.joints.publish(joints)
        odometry = Odometry()
        odometry.header.frame_id = "odom"
        odometry.pose.pose.orientation.w = 1.0
        set_stamp(odometry.header.stamp, stamp)
        self.odometry.publish(odometry)

    def frame(
        self, camera: str, stamp: int, pixels: np.ndarray | None = None, **fields: Any
    ) -> None:
        """One frame of one camera; noise unless `pixels` are given."""
        if pixels is None:
            pixels = self._random.integers(256, size=(HEIGHT, WIDTH, 3), dtype=np.uint8)
        if self.kind is CompressedImage:
            data = cv2.imencode(".png", pixels[:, :, ::-1])[1].tobytes()
            message = CompressedImage(format="png", data=array.array("B", data))
        else:
            fields = {
                "encoding": "rgb8",
                "height": HEIGHT,
                "width": WIDTH,
                "step": 3 * WIDTH,
            } | fields
            message = Image(data=array.array("B", pixels.tobytes()), **fields)
        message.header.frame_id = f"camera_{camera}_optical"
        set_stamp(message.header.stamp, stamp)
        self.images[camera].publish(message)

    def pair(self, stamp: int, apart_ns: int = 0, **pixels: np.ndarray) -> None:
        """A frame of each camera."""
        for camera, at in (("navigation", stamp), ("manipulation", stamp + apart_ns)):
            self.frame(camera, at, pixels.get(camera))

    def observe(self, stamp: int, body: dict[str, float] | None = None, **pair: Any) -> Observation:
        """The observation of a body and a pair at that time. Topics overtake each other, so both
        are sent again, a microsecond later, until they have met."""
        for attempt in range(50):
            at = stamp + attempt * 1000
            self.body(at, **(body or {}))
            self.pair(at, **pair)

            def met(message: Observation, at: int = at) -> bool:
                body_stamps = (message.joint_states.header.stamp, message.odometry.header.stamp)
                return stamp_ns(message.header.stamp) == at and all(
                    stamp_ns(part) >= stamp for part in body_stamps
                )

            try:
                return self.observations.wait(met, deadline_s=0.3)
            except AssertionError:
                continue
        raise AssertionError(f"no observation\n{self.graph.logs()}")


@pytest.fixture
def cameras(graph, tmp_path):
    return Cameras(graph, tmp_path)


@pytest.mark.smoke
def test_paired_frames_become_an_observation_at_policy_resolution(cameras):
    cameras.start()
    left_red = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    left_red[:, : WIDTH // 2, 0] = 255
    info = CameraInfo(height=HEIGHT, width=WIDTH)
    info.k = [50.0, 0.0, 31.5, 0.0, 50.0, 23.5, 0.0, 0.0, 1.0]
    info.p = [50.0, 0.0, 31.5, 0.0, 0.0, 50.0, 23.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    cameras.observe(time.time_ns() - 100 * MS)  # everything is connected from here on
    cameras.graph.wait_matched(cameras.infos["navigation"])
    cameras.infos["navigation"].publish(info)
    before_ns = time.time_ns()
    stamp = before_ns - 50 * MS
    seen = cameras.observe(stamp, apart_ns=10 * MS, navigation=left_red)

    assert seen.header.frame_id == "base_link"
    assert list(seen.camera_names) == ["navigation", "manipulation"]
    assert [(m.height, m.width, m.encoding) for m in seen.images] == [(SIZE, SIZE, "rgb8")] * 2
    image = np.frombuffer(seen.images[0].data, np.uint8).reshape(SIZE, SIZE, 3)
    assert (image[:, : SIZE // 2] == (255, 0, 0)).all()
    assert not image[:, SIZE // 2 :].any()
    assert stamp_ns(seen.images[1].header.stamp) - stamp_ns(seen.header.stamp) == 10 * MS
    # The middle square of the source at half its size, pixel centres at whole numbers.
    assert seen.camera_infos[0].k[0] == pytest.approx(25.0)
    assert seen.camera_infos[0].k[2] == pytest.approx(11.5)
    assert (seen.camera_infos[0].height, seen.camera_infos[0].width) == (SIZE, SIZE)
    assert not any(seen.camera_infos[1].k)  # none was received
    assert seen.ages_s[0] - seen.ages_s[1] == pytest.approx(0.01, abs=1e-4)
    assert 0.0 < seen.ages_s[1] < 20.0
    assert list(seen.frozen) == [False, False]
    camera, published = stamp_ns(seen.trace.camera), stamp_ns(seen.trace.observation)
    assert before_ns < camera <= published < time.time_ns()


def test_frames_whose_stamps_differ_too_much_are_never_paired(cameras):
    cameras.start(pairing_tolerance_s=0.02)
    start = time.time_ns()
    first = cameras.observe(start)
    for k in range(1, 10):
        cameras.body(start + k * 100 * MS)
        cameras.pair(start + k * 100 * MS, apart_ns=50 * MS)
    level, message, _ = cameras.diagnostics.wait(
        lambda m, v: m.startswith("no frames of"), "a report on the silence"
    )
    assert level == DiagnosticStatus.WARN
    assert "within 0.02 s of each other" in message
    last = cameras.observe(start + 2000 * MS)
    between = [
        stamp_ns(m.header.stamp)
        for m in cameras.observations.messages
        if stamp_ns(first.header.stamp) < stamp_ns(m.header.stamp) < stamp_ns(last.header.stamp)
    ]
    assert not [stamp for stamp in between if 50 * MS < stamp - start < 1990 * MS]


def test_a_camera_that_repeats_its_pixels_is_flagged_until_it_lives_again(cameras):
    cameras.start(frozen_repeats=3)
    still = np.full((HEIGHT, WIDTH, 3), 7, np.uint8)
    start = time.time_ns()
    flags = []
    for k in range(6):
        seen = cameras.observe(start + k * 100 * MS, manipulation=still)
        flags.append(list(seen.frozen))
    assert flags[0] == [False, False]
    assert flags[-1] == [False, True]
    level, message, _ = cameras.diagnostics.wait(lambda m, v: "frozen" in m, "a report")
    assert (level, message) == (DiagnosticStatus.ERROR, "frozen camera: manipulation")
    assert list(cameras.observe(start + 700 * MS).frozen) == [False, False]


def test_the_status_says_which_cameras_are_lost_or_frozen(cameras):
    statuses = cameras.graph.collect(CameraStatus, topics.CAMERA_STATUS)
    cameras.start(frame_age_max_s=0.5, frozen_repeats=2)

    def wait(frozen, lost):
        return statuses.wait(
            lambda message: (list(message.frozen), list(message.lost)) == (frozen, lost),
            what=f"frozen {frozen}, lost {lost}",
            since=max(0, statuses.mark() - 1),
        )

    assert list(wait([False, False], [True, True]).camera_names) == ["navigation", "manipulation"]
    still = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for _ in range(3):
        cameras.pair(time.time_ns(), manipulation=still)
        time.sleep(0.05)
    wait([False, True], [False, False])
    wait([False, True], [True, True])  # neither gives any more
    cameras.pair(time.time_ns())
    wait([False, False], [False, False])


def test_there_is_no_observation_without_the_body_at_the_time_of_the_frames(cameras):
    cameras.start()
    now = time.time_ns()
    cameras.observe(now)
    # The last joint states are a second older than these frames, and 0.3 s are allowed.
    mark = cameras.observations.mark()
    for camera in cameras.images:
        cameras.frame(camera, now + 1000 * MS)
    level, message, _ = cameras.diagnostics.wait(lambda m, v: "joint states" in m, "a report")
    assert level == DiagnosticStatus.ERROR
    assert message == "no observation: no joint states at the time of the frames"
    assert cameras.observations.mark() == mark


def test_the_body_is_taken_from_the_time_of_the_oldest_frame(cameras):
    cameras.start()
    now = time.time_ns()
    cameras.observe(now)
    for k in range(10):
        cameras.body(now + (100 + 20 * k) * MS)
    # Topics overtake each other: frames come again, a microsecond later, until all bodies have.
    for attempt in range(100):
        mark = cameras.observations.mark()
        cameras.pair(now + 161 * MS + 1000 * attempt, apart_ns=24 * MS)
        try:
            seen = cameras.observations.wait(since=mark, deadline_s=0.3)
        except AssertionError:
            continue
        body = (seen.joint_states.header.stamp, seen.odometry.header.stamp)
        if attempt >= 5 and {stamp_ns(stamp) for stamp in body} == {now + 160 * MS}:
            return
    pytest.fail(f"expected the body of {now + 160 * MS}, got {body}")


def test_what_the_scene_says_is_held_is_in_the_hand(cameras):
    cameras.start()
    cameras.graph.wait_matched(cameras.objects)
    now = time.time_ns()
    assert not cameras.observe(now).object_in_hand
    cameras.objects.publish(SceneObjects(objects=[SceneObject(id="mug-1", held=True)]))
    for k in range(1, 50):
        if cameras.observe(now + k * 100 * MS).object_in_hand:
            return
    pytest.fail("the held object was never in the hand")


def test_a_gripper_that_pushes_and_is_not_closed_holds_something_where_no_objects_are_known(
    graph, tmp_path
):
    path = write_profile(tmp_path)
    signals = yaml.safe_load(path.read_text())["signals"]
    del signals["objects"]
    cameras = Cameras(graph, tmp_path, signals=signals)
    cameras.start(grip_effort_min=5.0)
    now = time.time_ns()
    cameras.observe(now)
    for k, (effort, opening, held) in enumerate(
        [(-8.0, 0.04, True), (8.0, 0.0, False), (1.0, 0.04, False), (8.0, 0.04, True)], 1
    ):
        body = {"effort": effort, "gripper": opening}
        seen = cameras.observe(now + k * 1000 * MS, body=body)
        assert seen.object_in_hand == held, (effort, opening)


def test_a_camera_that_is_mounted_on_its_side_is_turned_upright(graph, tmp_path):
    cameras_ = yaml.safe_load(write_profile(tmp_path).read_text())["cameras"]
    cameras_[0]["rotate_deg"] = 90
    cameras = Cameras(graph, tmp_path, cameras=cameras_)
    cameras.start()
    sideways = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    sideways[:, : WIDTH // 2] = 200  # what is on the left is above once it is turned
    seen = cameras.observe(time.time_ns(), navigation=sideways)
    image = np.frombuffer(seen.images[0].data, np.uint8).reshape(SIZE, SIZE, 3)
    assert (image[: SIZE // 2 - 1] == 200).all()
    assert (image[SIZE // 2 + 1 :] == 0).all()


def test_compressed_images_are_taken_too(graph, tmp_path):
    cameras_ = yaml.safe_load(write_profile(tmp_path).read_text())["cameras"]
    for camera in cameras_:
        camera["type"] = "sensor_msgs/msg/CompressedImage"
    cameras = Cameras(graph, tmp_path, kind=CompressedImage, cameras=cameras_)
    cameras.start()
    green = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    green[..., 1] = 200
    seen = cameras.observe(time.time_ns(), navigation=green)
    image = np.frombuffer(seen.images[0].data, np.uint8).reshape(SIZE, SIZE, 3)
    assert (image == (0, 200, 0)).all()


def test_an_image_that_cannot_be_read_is_reported_and_survived(cameras):
    cameras.start()
    now = time.time_ns()
    cameras.observe(now)
    cameras.body(now + 100 * MS)
    cameras.frame("navigation", now + 100 * MS, encoding="32FC1")
    cameras.frame("manipulation", now + 100 * MS)
    level, message, _ = cameras.diagnostics.wait(lambda m, v: "32FC1" in m, "a report")
    assert level == DiagnosticStatus.ERROR
    assert message.startswith("no observation: camera 'navigation': encoding '32FC1': expected")
    cameras.observe(now + 200 * MS)


def test_frames_without_a_stamp_are_reported_and_make_no_observation(cameras):
    cameras.start()
    cameras.observe(time.time_ns())
    mark = cameras.observations.mark()
    for _ in range(2):
        cameras.pair(0)
    level, message, _ = cameras.diagnostics.wait(lambda m, v: "no stamp" in m, "a report")
    assert level == DiagnosticStatus.ERROR
    assert message == "no observation: camera 'manipulation': its messages have no stamp"
    assert cameras.observations.mark() == mark


def test_frames_that_are_too_old_already_are_flagged_as_late(cameras):
    cameras.start(frame_age_max_s=1.0)
    old = cameras.observe(time.time_ns() - 5000 * MS)
    assert list(old.late) == [True, True]
    level, message, _ = cameras.diagnostics.wait(lambda m, v: "older than 1 s" in m, "a report")
    assert level == DiagnosticStatus.WARN
    assert message == "frames older than 1 s: camera navigation, manipulation"
    # By 60 s at most is a frame of this test ahead of its time.
    assert list(cameras.observe(time.time_ns() + 60_000 * MS).late) == [False, False]


@pytest.fixture
def video(tmp_path):
    """Ten seconds of red that grows."""
    path = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20.0, (WIDTH, HEIGHT))
    for k in range(200):
        writer.write(np.full((HEIGHT, WIDTH, 3), (0, 0, 50 + k), np.uint8))
    writer.release()
    return path


def one_device(folder, device):
    """The profile's first camera alone, as a device."""
    camera = yaml.safe_load(write_profile(folder).read_text())["cameras"][0]
    del camera["info_topic"]
    return [camera | {"device": str(device)}]


def test_a_device_is_opened_and_published_like_any_camera(graph, tmp_path, video):
    cameras = Cameras(graph, tmp_path, cameras=one_device(tmp_path, video))
    frames = graph.collect(Image, "camera/navigation/image", qos_profile_sensor_data)
    node = graph.start(
        "camera_ingest",
        robot=cameras.profile,
        image_height=SIZE,
        image_width=SIZE,
        frozen_repeats=1000,
    ).bring_up()

    def seen():
        cameras.body(time.time_ns())
        return cameras.observations.messages

    graph.wait_for(seen, "an observation of a device")
    observation = cameras.observations.messages[0]
    assert (observation.images[0].height, observation.images[0].width) == (SIZE, SIZE)
    red, green, blue = np.frombuffer(observation.images[0].data, np.uint8).reshape(-1, 3).mean(0)
    assert red > 40
    assert max(green, blue) < 20
    assert abs(time.time_ns() - stamp_ns(observation.header.stamp)) < 60_000 * MS
    assert frames.wait().header.frame_id == "camera_navigation_optical"
    node.end()


def test_a_device_that_cannot_be_opened_keeps_the_node_unconfigured(graph, tmp_path):
    profile = write_profile(tmp_path, cameras=one_device(tmp_path, "/no/such/device"))
    node = graph.start("camera_ingest", robot=profile)
    assert not node.change("configure")
    assert "camera 'navigation': device '/no/such/device': expected a camera" in node.output()
    assert "Traceback" not in node.output()
