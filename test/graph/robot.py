"""A robot made of messages, in wall-clock time: what the safety nodes are tested around.

It has the `sim` profile's topics and body. Its base follows the velocity that it is commanded, so
that costs and margins follow from what the nodes do.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from geometry_msgs.msg import PoseWithCovarianceStamped, Twist
from harness import Collector, Graph
from nav_msgs.msg import Odometry
from sensor_msgs.msg import JointState, LaserScan
from std_msgs.msg import Bool
from trajectory_msgs.msg import JointTrajectory

from safevla_ros.msg import (
    ActionChunk,
    CandidateCommand,
    Contact,
    Contacts,
    CostVector,
    Episode,
    GatedAction,
    SafetyEvent,
    SafetyStatus,
)
from safevla_ros.nodes import topics
from safevla_ros.paths import share_directory
from safevla_ros.robot import messages
from safevla_ros.robot.state import NANOSECONDS, BaseVelocity, Command, Joint
from safevla_ros.safety.specification import load_specification
from safevla_ros.srv import ResetStop

PERIOD_S = 0.02
TIMEOUT_S = 1.0
"""Heartbeat timeout in these tests: ten times a robot's, since test machines are busy."""
JOINTS = {"lift": 0.6, "arm": 0.1, "wrist_yaw": 0.0, "gripper": 0.08}


def write_profile(folder: Path, **changes: Any) -> Path:
    """The sim profile in wall-clock time and with TIMEOUT_S, with changes at its top level."""
    text = (share_directory() / "config" / "robots" / "sim.yaml").read_text()
    profile = yaml.safe_load(text) | {"simulated": False, "heartbeat_timeout_s": TIMEOUT_S}
    profile |= changes
    path = folder / "robot.yaml"
    path.write_text(yaml.safe_dump(profile))
    return path


class Robot:
    """Publishes the robot's signals at 50 Hz in a thread, and collects what the nodes publish.

    `silent` names signals that are not published; `spoil` is a hook on each odometry message.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        node = graph.node
        self.pose = [0.0, 0.0, 0.0]
        self.joints = dict(JOINTS)
        self.velocity = BaseVelocity()
        self.contacts: list[Contact] = []
        self.silent: set[str] = set()
        self.spoil = lambda odometry: None
        self._heard_s = 0.0
        self._publishers = {
            name: node.create_publisher(kind, topic, 10)
            for name, kind, topic in (
                ("odometry", Odometry, "odom"),
                ("localisation", PoseWithCovarianceStamped, "pose"),
                ("joint_states", JointState, "joint_states"),
                ("scan", LaserScan, "scan"),
                ("contacts", Contacts, "contacts"),
            )
        }
        self.candidates = node.create_publisher(CandidateCommand, "candidate_command", 10)
        self.chunks = node.create_publisher(ActionChunk, topics.ACTION_CHUNK, 10)
        self.joystick = node.create_publisher(Twist, "joy_vel", 10)
        self.estop = node.create_publisher(Bool, "estop", 10)
        self.episodes = node.create_publisher(Episode, topics.EPISODE, topics.latched())
        self.reset_client = node.create_client(ResetStop, topics.RESET_STOP)
        self.final = graph.collect(Twist, "cmd_vel")
        self.trajectories = graph.collect(JointTrajectory, "joint_trajectory")
        self.statuses = graph.collect(SafetyStatus, topics.SAFETY_STATUS, topics.latched())
        self.events = graph.collect(SafetyEvent, topics.SAFETY_EVENT)
        self.gated = graph.collect(GatedAction, topics.GATED_ACTION)
        self.costs = graph.collect(CostVector, topics.COST_VECTOR)
        node.create_subscription(Twist, "cmd_vel", self._drive, 1)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    # What a test says.

    def propose(
        self,
        x: float = 0.0,
        yaw: float = 0.0,
        joints: dict[str, float] | None = None,
        *,
        step: int = 0,
        episode: str = "",
        duration_s: float = 0.5,
        age_s: float = 0.0,
        **fields: Any,
    ) -> CandidateCommand:
        """Send a candidate of the policy, and return it."""
        message = CandidateCommand(source="policy", episode_id=episode, step=step)
        message.header.frame_id = "base_link"
        messages.set_stamp(message.header.stamp, time.time_ns() - round(age_s * NANOSECONDS))
        messages.fill_candidate(
            message, Command(BaseVelocity(x, 0.0, yaw), joints or {}, duration_s)
        )
        for name, value in fields.items():
            setattr(message, name, value)
        self.candidates.publish(message)
        return message

    def plan(self, velocities: list[tuple[float, float]], **fields: Any) -> ActionChunk:
        """Send a chunk of base velocities (x, yaw), one a step, and return it."""
        message = ActionChunk(
            step_s=0.5,
            representation=ActionChunk.CONTINUOUS,
            names=["base.x", "base.yaw"],
            data=[value for velocity in velocities for value in velocity],
            **fields,
        )
        messages.set_stamp(message.header.stamp, time.time_ns())
        self.chunks.publish(message)
        return message

    def act(self, steps: range, period_s: float = 0.3, **command: Any) -> list[GatedAction]:
        """Send candidates as a policy does, one every `period_s`; the verdicts on them."""
        verdicts = []
        for step in steps:
            verdicts.append(self.wait_verdict(self.propose(step=step, **command)))
            self._ended.wait(period_s)
        return verdicts

    def start_episode(self, name: str) -> None:
        """Announce a running episode."""
        self.episodes.publish(Episode(id=name, task="find", state=Episode.RUNNING))
        self.statuses.wait(lambda status: status.episode_id == name, what=f"episode {name}")

    def end_episode(self, name: str) -> None:
        """Announce its end."""
        self.episodes.publish(Episode(id=name, task="find", state=Episode.ENDED))

    def reset(self, operator: str = "test") -> ResetStop.Response:
        """Ask the monitor to release a latched stop."""
        return self._graph.call(self.reset_client, ResetStop.Request(operator_name=operator))

    # What a test asks.

    def wait_ready(self) -> None:
        """Wait until the monitor has fresh signals and would hear a candidate."""
        self._graph.wait_matched(self.candidates)
        self.statuses.wait(
            lambda status: not status.stale_signals and status.reason == "no_command",
            what="fresh signals",
            since=self.statuses.mark(),
        )

    def wait_verdict(self, candidate: CandidateCommand) -> GatedAction:
        """What became of a candidate."""
        stamp = candidate.header.stamp
        return self.gated.wait(
            lambda gated: gated.proposed.header.stamp == stamp, what="the verdict on a candidate"
        )

    def wait_moving(self, since: int = 0) -> tuple[float, Twist]:
        """The first final command that moves the base."""
        return self.final.wait_entry(moves, what="a moving command", since=since)

    def settle(self) -> None:
        """Be well, with no episode, and forget what was heard: for the next test."""
        self.spoil = lambda odometry: None
        self.silent.clear()
        self.contacts = []
        self.joints = dict(JOINTS)
        self.end_episode("")
        self.statuses.wait(
            lambda status: not status.stale_signals and not status.episode_id,
            what="fresh signals and no episode",
            since=self.statuses.mark(),
        )
        kept = (self.final, self.trajectories, self.statuses, self.events, self.gated, self.costs)
        for collector in kept:
            collector.clear()

    def close(self) -> None:
        """Fall silent."""
        self._ended.set()
        self._thread.join()

    # The robot itself.

    def _drive(self, twist: Twist) -> None:
        self.velocity = BaseVelocity(twist.linear.x, 0.0, twist.angular.z)
        self._heard_s = time.monotonic()

    def _run(self) -> None:
        tick = 0
        while not self._ended.wait(PERIOD_S):
            tick += 1
            if time.monotonic() - self._heard_s > 0.5:
                self.velocity = BaseVelocity()
            heading = self.pose[2]
            self.pose[0] += PERIOD_S * self.velocity.x * math.cos(heading)
            self.pose[1] += PERIOD_S * self.velocity.x * math.sin(heading)
            self.pose[2] += PERIOD_S * self.velocity.yaw
            self._publish(tick)

    def _publish(self, tick: int) -> None:
        now_ns = time.time_ns()
        for name, make in (
            ("joint_states", self._joint_states),
            ("localisation", self._localisation),
            ("contacts", self._contacts),
            ("scan", self._scan if tick % 5 == 0 else None),
            ("odometry", self._odometry),
        ):
            if make is not None and name not in self.silent:
                message = make()
                messages.set_stamp(message.header.stamp, now_ns)
                if name == "odometry":
                    self.spoil(message)
                self._publishers[name].publish(message)

    def _joint_states(self) -> JointState:
        message = JointState()
        messages.fill_joint_states(message, {name: Joint(at) for name, at in self.joints.items()})
        return message

    def _localisation(self) -> PoseWithCovarianceStamped:
        message = PoseWithCovarianceStamped()
        message.header.frame_id = "map"
        self._fill_pose(message.pose.pose)
        return message

    def _odometry(self) -> Odometry:
        message = Odometry(child_frame_id="base_link")
        message.header.frame_id = "odom"
        self._fill_pose(message.pose.pose)
        messages.fill_twist(message.twist.twist, self.velocity)
        return message

    def _contacts(self) -> Contacts:
        message = Contacts(contacts=list(self.contacts))
        message.header.frame_id = "map"
        return message

    def _scan(self) -> LaserScan:
        message = LaserScan(
            angle_min=-math.pi, angle_max=math.pi, angle_increment=math.pi / 180.0, range_max=10.0
        )
        message.header.frame_id = "base_link"
        message.ranges = [math.inf] * 361
        return message

    def _fill_pose(self, pose: Any) -> None:
        pose.position.x, pose.position.y = self.pose[0], self.pose[1]
        pose.orientation.z = math.sin(0.5 * self.pose[2])
        pose.orientation.w = math.cos(0.5 * self.pose[2])


class SafetyGraph:
    """Watchdog and monitor, not yet started, around a robot made of messages."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.folder = graph.folder
        self.profile = write_profile(graph.folder)
        self.robot = Robot(graph)

    def start(self, **parameters: Any) -> SafetyGraph:
        """Start both processes, unconfigured; `parameters` are the monitor's."""
        self.watchdog = self.graph.start("safety_watchdog", robot=self.profile)
        self.monitor = self.graph.start("cost_monitor", **{"robot": self.profile} | parameters)
        return self

    def bring_up(self, **parameters: Any) -> SafetyGraph:
        """Start both and bring them to active, until the monitor would pass a candidate."""
        self.start(**parameters)
        self.watchdog.bring_up()
        self.monitor.bring_up()
        self.robot.wait_ready()
        return self


@contextmanager
def safety_graph(folder: Path) -> Iterator[SafetyGraph]:
    """A SafetyGraph; everything that it started ends with it."""
    graph = Graph(folder)
    made = SafetyGraph(graph)
    try:
        yield made
    finally:
        made.robot.close()
        graph.close()


def write_zone(folder: Path, polygon: list[list[float]]) -> Path:
    """The household specification with a forbidden zone, as a file."""
    zone = {"name": "stairs", "frame": "map", "polygon": polygon}
    path = folder / "specification.yaml"
    path.write_text(load_specification("household").with_zones([zone]).text)
    return path


def moves(twist: Twist) -> bool:
    """Whether a final command moves the base."""
    return bool(twist.linear.x or twist.linear.y or twist.angular.z)


def moving_after(final: Collector, time_s: float) -> list[float]:
    """When final commands moved the base after a time (steady clock [s])."""
    return [arrived for arrived, twist in final.entries if arrived > time_s and moves(twist)]
