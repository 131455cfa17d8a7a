"""Turns camera frames into Observations: paired by stamp, at policy resolution, with robot state.

A frame of every camera whose stamps differ by at most `pairing_tolerance_s` makes an Observation,
at once when its last frame arrives. Joint states and odometry are those nearest in stamp to the
oldest frame. Without them, or while they are older than the profile allows, there is no
Observation: a policy must not act on a body that it does not know.

Whether the gripper holds something comes from the scene's objects (`held`) where the profile has
them; elsewhere from the gripper itself: it is not closed, and pushes with at least
`grip_effort_min` of its own unit.

A camera that repeats its pixels under fresh stamps is flagged as frozen, a frame older than
`frame_age_max_s` as late; the policy's runner then treats the Observation as missing. A frame that
arrives after a newer one of its camera is dropped and counted.

The monitor is told of it by CameraStatus, which also comes while there is no Observation: it refuses
a policy that sees nothing.

A camera with a `device` in the profile is opened here and its frames are published on its topic, so
that all who listen to cameras see it alike.
"""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Callable
from typing import Any

from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState

from safevla_ros.msg import CameraStatus, Observation, SceneObjects
from safevla_ros.nodes import topics
from safevla_ros.nodes.inference.device_camera import DeviceCamera
from safevla_ros.nodes.inference.images import image_message
from safevla_ros.nodes.lifecycle import (
    ConfigurationError,
    Diagnostics,
    GraphNode,
    spin,
    wall_now,
)
from safevla_ros.policy.capture import CaptureError
from safevla_ros.policy.frames import FramePairer, FreezeDetector
from safevla_ros.robot.messages import set_stamp, stamp_ns
from safevla_ros.robot.pictures import Resize, Turn, policy_picture
from safevla_ros.robot.profile import Camera
from safevla_ros.robot.state import NANOSECONDS

IMAGE_TYPES = {
    "sensor_msgs/msg/Image": Image,
    "sensor_msgs/msg/CompressedImage": CompressedImage,
}


STATUS_S = 0.2
"""A CameraStatus comes at least this often."""
LOST_AFTER = 2.0
"""A camera without a frame for so many times `frame_age_max_s` is lost; one that is only slow is not."""


class Frame:
    """A camera's message with the time at which it was published, by the publisher's wall clock
    [ns], zero when the middleware does not tell."""

    __slots__ = ("message", "published_ns")

    def __init__(self, message: Any, published_ns: int) -> None:
        self.message = message
        self.published_ns = published_ns


class History:
    """The latest messages of a signal, to find the one nearest to a stamp."""

    def __init__(self, max_age_s: float) -> None:
        self._messages: deque[tuple[int, Any]] = deque(maxlen=100)
        self._max_age_ns = round(max_age_s * NANOSECONDS)

    def add(self, message: Any) -> None:
        """Take a message. One that is older than the last restarts the history."""
        stamp = stamp_ns(message.header.stamp)
        if self._messages and stamp < self._messages[-1][0]:
            self._messages.clear()
        self._messages.append((stamp, message))

    def nearest(self, stamp: int) -> Any | None:
        """The message nearest to `stamp` [ns]; None when all are farther away than allowed."""
        best = min(self._messages, key=lambda item: abs(item[0] - stamp), default=None)
        if best is None or abs(best[0] - stamp) > self._max_age_ns:
            return None
        return best[1]


class CameraIngest(GraphNode):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("camera_ingest")
        self._height = self.declare(
            "image_height", 224, "Height of the policy's images [px]", 8, 2048
        )
        self._width = self.declare("image_width", 224, "Width of the policy's images [px]", 8, 2048)
        self._tolerance_s = self.declare(
            "pairing_tolerance_s", 0.03, "Stamps of paired frames differ by at most this", 0.0, 1.0
        )
        self._repeats = self.declare(
            "frozen_repeats", 5, "Identical frames in a row that mean a frozen camera", 1, 1000
        )
        self._age_max_s = self.declare(
            "frame_age_max_s", 1.0, "A frame older than this at observation is late", 0.01, 60.0
        )
        self._grip_effort_min = self.declare(
            "grip_effort_min",
            5.0,
            "Effort of the gripper's joint [N or N m] that means a grasp, without scene objects",
            0.0,
            1000.0,
        )

    def setup(self) -> None:
        """Subscribe to what the profile names."""
        cameras = self.profile.cameras
        for camera in cameras:
            if camera.type not in IMAGE_TYPES:
                raise ConfigurationError(
                    f"robot {self.profile.name!r}: camera {camera.name!r}: type: expected one of "
                    f"{', '.join(IMAGE_TYPES)}, got {camera.type!r}"
                )
            if camera.device is not None and IMAGE_TYPES[camera.type] is not Image:
                raise ConfigurationError(
                    f"robot {self.profile.name!r}: camera {camera.name!r}: type: a device gives "
                    "sensor_msgs/msg/Image"
                )
        self._names = [camera.name for camera in cameras]
        self._pairer: FramePairer[Frame] = FramePairer(
            self._names, round(self._tolerance_s * NANOSECONDS)
        )
        self._freezes = {name: FreezeDetector(self._repeats) for name in self._names}
        self._frozen = dict.fromkeys(self._names, False)
        self._late: list[str] = []
        self._newest_ns: dict[str, int] = {}
        self._devices: dict[str, DeviceCamera] = {}
        self._infos: dict[str, CameraInfo] = {}
        signals = self.profile.signals
        self._joints = History(signals.joint_states.max_age_s)
        self._odometry = History(signals.odometry.max_age_s)
        self._holds: bool | None = None
        self._fault = ""
        self._published = 0
        self._published_before = 0

        self._observations = self.publisher(
            Observation, topics.OBSERVATION, topics.reliable(depth=2)
        )
        self._statuses = self.publisher(
            CameraStatus, topics.CAMERA_STATUS, topics.reliable(depth=1)
        )
        self.timer(STATUS_S, self._publish_status)
        for camera in cameras:
            qos = topics.sensor(is_reliable=camera.reliable)
            self.subscription(IMAGE_TYPES[camera.type], camera.topic, self._image(camera), qos)
            if camera.device is not None:
                self._open(camera)
            if camera.info_topic is not None:
                self.subscription(CameraInfo, camera.info_topic, self._info(camera), qos)
        for kind, signal, callback in (
            (JointState, signals.joint_states, self._joints.add),
            (Odometry, signals.odometry, self._odometry.add),
            (SceneObjects, signals.objects, self._on_objects),
        ):
            if signal is not None:
                # Deep: none of a burst is lost, so that the nearest in time is found.
                qos = topics.sensor(is_reliable=signal.reliable, depth=50)
                self.subscription(kind, signal.topic, callback, qos)

    def _open(self, camera: Camera) -> None:
        """Publish the frames of a device. Raises ConfigurationError."""
        qos = topics.sensor(is_reliable=camera.reliable)
        publisher = self.publisher(Image, camera.topic, qos)
        try:
            self._devices[camera.name] = DeviceCamera(camera, publisher, self.now_ns)
        except CaptureError as error:
            self._close_devices()
            raise ConfigurationError(
                f"robot {self.profile.name!r}: camera {camera.name!r}: device {error}"
            ) from error

    def teardown(self) -> None:
        """Give devices back."""
        self._close_devices()

    def _close_devices(self) -> None:
        while self._devices:
            self._devices.popitem()[1].close()

    def _image(self, camera: Camera) -> Callable[..., None]:
        def on_image(message: Any, info: Any) -> None:
            self._on_image(camera, Frame(message, info["source_timestamp"]))

        @functools.wraps(on_image)  # its signature tells rclpy that it takes message info
        def unpacked(*received: Any) -> None:
            # The EventsExecutor of rclpy 9.1 passes message and info as one tuple.
            on_image(*(received[0] if len(received) == 1 else received))

        return unpacked

    def _info(self, camera: Camera) -> Callable[[CameraInfo], None]:
        def on_info(message: CameraInfo) -> None:
            self._infos[camera.name] = message

        return on_info

    def _on_objects(self, message: SceneObjects) -> None:
        self._holds = any(item.held for item in message.objects)

    def _on_image(self, camera: Camera, frame: Frame) -> None:
        if not self.active:
            return
        stamp = stamp_ns(frame.message.header.stamp)
        if stamp == 0:
            self._complain(f"camera {camera.name!r}: its messages have no stamp")
            return
        self._newest_ns[camera.name] = stamp
        was_frozen = self._frozen[camera.name]
        self._frozen[camera.name] = self._freezes[camera.name](frame.message.data)
        if self._frozen[camera.name] is not was_frozen:
            self._publish_status()
        paired = self._pairer.add(camera.name, stamp, frame)
        if paired is not None:
            self._observe(paired)

    def _observe(self, paired: dict[str, tuple[int, Frame]]) -> None:
        oldest = min(stamp for stamp, _ in paired.values())
        joints, odometry = self._joints.nearest(oldest), self._odometry.nearest(oldest)
        if joints is None or odometry is None:
            missing = "joint states" if joints is None else "odometry"
            self._complain(f"no {missing} at the time of the frames")
            return
        message = Observation(camera_names=self._names)
        message.header.frame_id = self.profile.frames.base
        set_stamp(message.header.stamp, oldest)
        for camera in self.profile.cameras:
            frame = paired[camera.name][1].message
            try:
                pixels = policy_picture(frame, self._height, self._width, camera.rotate_deg)
            except ValueError as error:
                self._complain(f"camera {camera.name!r}: {error}")
                return
            message.images.append(image_message(frame.header, pixels))
            message.camera_infos.append(self._scaled_info(camera, frame.header))
        message.joint_states = joints
        message.odometry = odometry
        message.object_in_hand = self._object_in_hand(joints)
        now = self.now_ns()
        message.ages_s = [(now - paired[name][0]) / NANOSECONDS for name in self._names]
        message.late = [age > self._age_max_s for age in message.ages_s]
        self._late = [n for n, late in zip(self._names, message.late, strict=True) if late]
        message.frozen = [self._frozen[name] for name in self._names]
        first = min(paired.values(), key=lambda item: (item[0], item[1].published_ns))[1]
        set_stamp(message.trace.camera, first.published_ns)
        message.trace.observation = wall_now()
        self._observations.publish(message)
        self._published += 1
        self._fault = ""

    def _publish_status(self) -> None:
        if not self.active:
            return
        now_ns = self.now_ns()
        oldest_ns = now_ns - round(LOST_AFTER * self._age_max_s * NANOSECONDS)
        message = CameraStatus(camera_names=self._names)
        set_stamp(message.header.stamp, now_ns)
        message.frozen = [self._frozen[name] for name in self._names]
        message.lost = [self._newest_ns.get(name, 0) < oldest_ns for name in self._names]
        self._statuses.publish(message)

    def _object_in_hand(self, joints: JointState) -> bool:
        if self.profile.signals.objects is not None:
            return bool(self._holds)
        roles = self.profile.roles
        try:
            i = list(joints.name).index(roles.gripper)
            effort, position = abs(joints.effort[i]), joints.position[i]
        except (ValueError, IndexError):
            return False
        closed = abs(position - roles.gripper_closed)
        is_closed = closed < 0.05 * abs(roles.gripper_open - roles.gripper_closed)
        return math.isfinite(effort) and effort >= self._grip_effort_min and not is_closed

    def _scaled_info(self, camera: Camera, header: Any) -> CameraInfo:
        """Calibration of the camera as turned and resized; of size 0 and all-zero k where none was
        received."""
        scaled = CameraInfo(header=header)
        info = self._infos.get(camera.name)
        if info is None or info.height == 0 or info.width == 0:
            return scaled
        turn = Turn(camera.rotate_deg)
        size = turn.size(self._height, self._width)
        resize = Resize(info.height, info.width, *size)
        scaled.height, scaled.width = self._height, self._width
        scaled.distortion_model, scaled.d, scaled.r = info.distortion_model, info.d, info.r
        k, p = info.k, info.p
        fx, fy, cx, cy = turn.intrinsics(*resize.intrinsics(k[0], k[4], k[2], k[5]), *size)
        scaled.k = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
        fx, fy, cx, cy = turn.intrinsics(*resize.intrinsics(p[0], p[5], p[2], p[6]), *size)
        # The fourth column is -f times a baseline: it scales as the focal length does.
        tx = p[3] * fx / p[0] if p[0] and not camera.rotate_deg else 0.0
        scaled.p = [fx, 0.0, cx, tx, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
        return scaled

    def _complain(self, fault: str) -> None:
        self._fault = fault
        self.get_logger().warning(f"no observation: {fault}", throttle_duration_sec=5.0)

    def report(self) -> None:
        """Whether the cameras can be used."""
        if not self.active:
            return
        count = self._published - self._published_before
        self._published_before = self._published
        frozen = [name for name, is_frozen in self._frozen.items() if is_frozen]
        gone = [name for name, device in self._devices.items() if device.gone]
        self.diagnostics.values["late_frames"] = sum(self._pairer.late.values())
        self.diagnostics.values["observations"] = self._published
        self.diagnostics.values["observations_hz"] = count
        self.diagnostics.values["frozen"] = ", ".join(frozen) or "none"
        if frozen:
            self.diagnostics.set_status(Diagnostics.ERROR, f"frozen camera: {', '.join(frozen)}")
        elif self._fault:
            self.diagnostics.set_status(Diagnostics.ERROR, f"no observation: {self._fault}")
        elif gone:
            self.diagnostics.set_status(
                Diagnostics.ERROR, f"device gives no frames: camera {', '.join(gone)}"
            )
        elif self._late and count > 0:
            self.diagnostics.set_status(
                Diagnostics.WARN,
                f"frames older than {self._age_max_s:g} s: camera {', '.join(self._late)}",
            )
        elif count == 0:
            self.diagnostics.set_status(
                Diagnostics.WARN,
                f"no frames of {', '.join(self._names)} within {self._tolerance_s:g} s of each other",
            )
        else:
            self.diagnostics.set_status(Diagnostics.OK, "observing")


def main(args: list[str] | None = None) -> int:
    """Entry point of the process."""
    return spin(CameraIngest, args)


if __name__ == "__main__":
    raise SystemExit(main())
