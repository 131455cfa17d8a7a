"""What the recorder listens to: every topic of the graph and of the robot's profile, once."""

from __future__ import annotations

from dataclasses import dataclass

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from safevla_ros.bags.metadata import Qos
from safevla_ros.nodes import topics
from safevla_ros.robot.profile import Compression, Profile

DEPTH = 200
"""Messages of one topic that may wait for this process, before DDS loses some."""

KEPT_ROLES = ("signals.localisation", "signals.grid")
"""A pose that is told only when the robot has moved, a map that is told once: the monitor goes by
the last one, so every bag begins with it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A topic to be recorded. `role`: what it is to the graph or to the robot. `compress`: how its
    images are recorded, under another name; None: as they come."""

    role: str
    topic: str
    type: str
    qos: QoSProfile
    compress: Compression | None = None

    @property
    def recorded_topic(self) -> str:
        """Its name in a bag."""
        return self.topic if self.compress is None else self.topic + Compression.SUFFIX

    @property
    def recorded_type(self) -> str:
        """Its type in a bag."""
        return self.type if self.compress is None else Compression.TYPE


def wanted_topics(profile: Profile) -> list[Wanted]:
    """Every topic of the graph and of the robot, each once; roles of the robot's are `kind.name`."""
    reliable, latched = topics.reliable(DEPTH), topics.latched(DEPTH)
    own = "safevla_ros/msg/"
    wanted = [
        Wanted("episode", topics.EPISODE, own + "Episode", latched),
        Wanted("cost_specification", topics.COST_SPECIFICATION, own + "CostSpecification", latched),
        Wanted("safety_status", topics.SAFETY_STATUS, own + "SafetyStatus", latched),
        Wanted("observation", topics.OBSERVATION, own + "Observation", reliable),
        Wanted("camera_status", topics.CAMERA_STATUS, own + "CameraStatus", reliable),
        Wanted("action_chunk", topics.ACTION_CHUNK, own + "ActionChunk", reliable),
        Wanted("gated_action", topics.GATED_ACTION, own + "GatedAction", reliable),
        Wanted("cost_vector", topics.COST_VECTOR, own + "CostVector", reliable),
        Wanted("safety_event", topics.SAFETY_EVENT, own + "SafetyEvent", reliable),
        Wanted("monitor_heartbeat", topics.MONITOR_HEARTBEAT, own + "Heartbeat", reliable),
        Wanted("watchdog_heartbeat", topics.WATCHDOG_HEARTBEAT, own + "Heartbeat", reliable),
        Wanted("markers", topics.MARKERS, "visualization_msgs/msg/MarkerArray", reliable),
        Wanted("robot_description", "robot_description", "std_msgs/msg/String", latched),
        Wanted("diagnostics", "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", reliable),
        Wanted("rosout", "/rosout", "rcl_interfaces/msg/Log", reliable),
        Wanted("clock", "/clock", "rosgraph_msgs/msg/Clock", _sensor(is_reliable=False)),
    ]
    for name, signal in profile.signals.present().items():
        # A map may have been told before we were there; who tells poses goes on telling them.
        qos = latched if name == "grid" else _sensor(is_reliable=signal.reliable)
        wanted.append(Wanted(f"signals.{name}", signal.topic, signal.type, qos))
    for camera in profile.cameras:
        qos = _sensor(is_reliable=camera.reliable)
        role = f"cameras.{camera.name}"
        wanted.append(Wanted(role, camera.topic, camera.type, qos, camera.compress))
        if camera.info_topic is not None:
            info = "sensor_msgs/msg/CameraInfo"
            wanted.append(Wanted(f"camera_infos.{camera.name}", camera.info_topic, info, qos))
    wanted += [
        Wanted(f"sources.{source.name}", source.topic, source.type, reliable)
        for source in profile.sources
    ]
    wanted += [
        Wanted(f"outputs.{topic}", topic, kind, reliable)
        for topic, kind in profile.outputs.final_topics().items()
    ]
    if profile.estop is not None:
        wanted.append(Wanted("estop", profile.estop.topic, "std_msgs/msg/Bool", reliable))
    if profile.outcome_topic is not None:
        wanted.append(Wanted("outcome", profile.outcome_topic, own + "TaskOutcome", reliable))
    return list({item.topic: item for item in reversed(wanted)}.values())[::-1]


def _sensor(*, is_reliable: bool) -> QoSProfile:
    return topics.sensor(is_reliable=is_reliable, depth=DEPTH)


def weakest(asked: QoSProfile, offered: list[QoSProfile]) -> QoSProfile | None:
    """What to ask for so that every publisher is heard; None: what was asked for is right."""
    reliable = all(qos.reliability == ReliabilityPolicy.RELIABLE for qos in offered)
    latched = all(qos.durability == DurabilityPolicy.TRANSIENT_LOCAL for qos in offered)
    asked_latched = asked.durability == DurabilityPolicy.TRANSIENT_LOCAL
    asked_reliable = asked.reliability == ReliabilityPolicy.RELIABLE
    if (reliable or not asked_reliable) and (latched or not asked_latched):
        return None
    weakest = _sensor(is_reliable=reliable and asked_reliable)
    if latched and asked_latched:
        weakest.durability = DurabilityPolicy.TRANSIENT_LOCAL
    return weakest


def as_recorded(qos: QoSProfile) -> Qos:
    """QoS in rosbag2's words."""
    return Qos(
        reliability="best_effort"
        if qos.reliability == ReliabilityPolicy.BEST_EFFORT
        else "reliable",
        durability="transient_local"
        if qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
        else "volatile",
        depth=qos.depth,
    )
