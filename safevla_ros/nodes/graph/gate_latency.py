"""What the cost monitor adds to a command's way over DDS: beside it, in the same run and taking
turns with it, a bare relay (relay.py) passes the same commands on.

Everything runs in the namespace /bench, around a robot that stands still and is made of messages.
"""

from __future__ import annotations

import array
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from geometry_msgs.msg import PoseWithCovarianceStamped, Twist
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.node import Node
from sensor_msgs.msg import JointState, LaserScan, PointCloud2, PointField

from safevla_ros.msg import CandidateCommand, SafetyStatus, SceneObject, SceneObjects
from safevla_ros.nodes import topics
from safevla_ros.nodes.graph import relay
from safevla_ros.nodes.graph.bringup import SAFETY_NICE, Graph, NodeSpec, Value
from safevla_ros.robot import messages, state
from safevla_ros.robot.geometry import planar
from safevla_ros.robot.profile import Profile

NAMESPACE = "/bench"
PERIOD_S = 0.02
"""Between two readings of joints, odometry and pose."""
SURROUNDINGS_EVERY = 5
"""Of these readings comes one of what stands around: 10 Hz."""
GIVEN_UP_S = 1.0
JOINTS = {"lift": 0.6, "arm": 0.1, "wrist_yaw": 0.0, "gripper": 0.08}
KINDS = {"scan": LaserScan, "points": PointCloud2, "objects": SceneObjects}


def describe_bench(profile: Profile, folder: Path) -> Graph:
    """The safety nodes, in wall-clock time; the profile they use is written into `folder`."""
    path = folder / "robot.yaml"
    content = profile.model_dump(mode="json", exclude_none=True) | {"simulated": False}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    common: dict[str, Value] = {"robot": str(path)}
    return Graph(
        profile=Profile.model_validate(content),
        nodes=(
            NodeSpec("safety_watchdog", 0, common, required=True, nice=SAFETY_NICE),
            NodeSpec(
                "cost_monitor", 1, common | {"mode": "enforce"}, required=True, nice=SAFETY_NICE
            ),
        ),
        policy="",
        namespace=NAMESPACE,
        use_sim_time=False,
        final_topics=profile.outputs.final_topics(),
    )


@contextmanager
def running_relay(log: Path) -> Iterator[None]:
    """The relay as a process of its own."""
    command = [sys.executable, "-m", relay.__name__, "--ros-args", "-r", f"__ns:={NAMESPACE}"]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(10.0)


class Course(Node):
    """Publishes the robot's signals and candidates, and times what comes back. `around` makes the
    readings of what stands around, by signal."""

    def __init__(
        self, context: Context, profile: Profile, around: Mapping[str, Callable[[], Any]]
    ) -> None:
        super().__init__(
            "course",
            context=context,
            namespace=NAMESPACE,
            use_global_arguments=False,
            start_parameter_services=False,
            enable_rosout=False,
        )
        signals = profile.signals.present()
        kinds = {"joint_states": JointState, "odometry": Odometry, **KINDS}
        kinds["localisation"] = PoseWithCovarianceStamped
        self._signals = {
            name: self.create_publisher(kinds[name], signals[name].topic, 10)
            for name in ("joint_states", "localisation", *around, "odometry")
        }
        self._around = {name: _message(name, make()) for name, make in around.items()}
        self._source, self._frame = profile.sources[0], profile.frames.base
        reliable = topics.reliable(depth=1)
        self._ways = {
            "relay": self.create_publisher(CandidateCommand, relay.CANDIDATES, reliable),
            "gate": self.create_publisher(CandidateCommand, self._source.topic, reliable),
        }
        self._awaited: float | None = None
        self._came_s = 0.0
        self._ticks = 0
        self.reason = ""
        for topic in (relay.COMMANDS, profile.outputs.base.topic):
            self.create_subscription(Twist, topic, self._on_twist, reliable)
        self.create_subscription(
            SafetyStatus, topics.SAFETY_STATUS, self._on_status, topics.latched()
        )

    def is_ready(self) -> bool:
        """Whether both ways are heard, and the monitor waits for a command."""
        is_heard = all(way.get_subscription_count() for way in self._ways.values())
        return is_heard and self.reason == "no_command"

    def sense(self) -> None:
        """One period's readings."""
        stamp_ns = time.time_ns()
        joints, odometry, pose = JointState(), Odometry(), PoseWithCovarianceStamped()
        base = planar(0.0, 0.0)
        readings = {name: state.Joint(at) for name, at in JOINTS.items()}
        messages.fill_joint_states(joints, readings)
        messages.fill_localisation(pose, state.Localisation("map", base))
        messages.fill_odometry(odometry, state.Odometry("odom", base, state.BaseVelocity()))
        every = {"joint_states": joints, "localisation": pose}
        if self._ticks % SURROUNDINGS_EVERY == 0:
            every |= self._around
        self._ticks += 1
        for name, message in {**every, "odometry": odometry}.items():
            messages.set_stamp(message.header.stamp, stamp_ns)
            self._signals[name].publish(message)

    def send(self, way: str, speed_m_s: float, spin: Callable[[float], None]) -> float:
        """A candidate's time from here to the command that it becomes [s]; NaN: it did not come.
        `speed_m_s` tells it from all others."""
        message = CandidateCommand(source=self._source.name)
        message.header.frame_id = self._frame
        messages.set_stamp(message.header.stamp, time.time_ns())
        command = state.Command(state.BaseVelocity(x=speed_m_s), duration_s=0.1)
        messages.fill_candidate(message, command)
        self._awaited = speed_m_s
        begun_s = time.monotonic()
        self._ways[way].publish(message)
        while self._awaited is not None and time.monotonic() - begun_s < GIVEN_UP_S:
            spin(0.001)
        return self._came_s - begun_s if self._awaited is None else float("nan")

    def _on_twist(self, message: Twist) -> None:
        if message.linear.x == self._awaited:
            self._came_s, self._awaited = time.monotonic(), None

    def _on_status(self, message: SafetyStatus) -> None:
        self.reason = message.reason


def _message(name: str, reading: Any) -> Any:
    """A reading of what stands around as a message."""
    message = KINDS[name]()
    if name == "scan":
        messages.fill_scan(message, reading)
    elif name == "objects":
        messages.fill_scene_objects(message, reading, SceneObject)
    else:
        points = reading.points.astype("<f4")
        message.header.frame_id = reading.frame
        message.height, message.width = 1, len(points)
        message.fields = [
            PointField(name=axis, offset=4 * index, datatype=PointField.FLOAT32, count=1)
            for index, axis in enumerate("xyz")
        ]
        message.point_step, message.row_step = 12, 12 * len(points)
        message.data = array.array("B", points.tobytes())
    return message
