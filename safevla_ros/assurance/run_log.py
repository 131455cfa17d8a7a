"""What a run's bag says, as plain data: the source of summary, video and picture alike.

Own topics are known by their types. Which of the robot's topics is the odometry, the localisation
or a camera stands in the bag's provenance; in a bag without it, the first topic of the right type
counts. Stamps are ROS time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safevla_ros.assurance.latency import stages_ms
from safevla_ros.bags import BagError, RawMessage
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.interleaving import interleaved, mixed_up
from safevla_ros.bags.reader import Bag
from safevla_ros.robot.geometry import yaw_of
from safevla_ros.robot.messages import (
    MessageError,
    joints_from,
    localisation_from,
    odometry_from,
    scene_objects_from,
    stamp_ns,
)
from safevla_ros.robot.state import Joint, SceneObjects

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


DECISIONS = ("PASS", "LIMIT", "HALT", "STOP", "LATCHED", "SHADOW")
"""Names of the gate's decisions, from harmless to severe; SHADOW decides nothing."""

_SIGNALS = {
    "nav_msgs/msg/Odometry": "signals.odometry",
    "geometry_msgs/msg/PoseWithCovarianceStamped": "signals.localisation",
    "sensor_msgs/msg/JointState": "signals.joint_states",
    "safevla_ros/msg/SceneObjects": "signals.objects",
    "std_msgs/msg/String": "robot_description",
}


@dataclass(frozen=True, slots=True)
class Episode:
    """The episode, as last told. `outcome` is the name of a constant of the Episode message;
    `ended_ns` is None when the bag does not hold its end."""

    id: str
    instruction: str
    task: str
    target_class: str
    target_ids: tuple[str, ...]
    policy_id: str
    policy_sha256: str
    started_ns: int
    ended_ns: int | None
    outcome: str
    reason: str
    steps: int


@dataclass(frozen=True, slots=True)
class TermSettings:
    """A cost term as in force. `budget`: None when the term has none."""

    name: str
    unit: str
    warning: float
    budget: float | None


@dataclass(frozen=True, slots=True)
class TermStep:
    """A cost term over one closed step. `margin` is NaN where it is unknown."""

    applicable: bool
    cost: float
    margin: float
    cumulative: float
    cause: str


@dataclass(frozen=True, slots=True)
class Step:
    """A closed step; `stamp_ns` is its end."""

    stamp_ns: int
    index: int
    terms: dict[str, TermStep]


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate made of a candidate. `decision` is the name of a constant of GatedAction."""

    stamp_ns: int
    source: str
    chunk_id: int
    step: int
    decision: str
    reason: str
    detail: str
    term: str
    latency_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class Charge:
    """A cost that a closed step was charged with."""

    stamp_ns: int
    term: str
    cause: str


@dataclass(slots=True)
class RunLog:
    """One run. `path` (N, 4): stamp [ns], x, y [m], yaw [rad] of the base in `frame`. `cameras`
    maps names to topics."""

    episode: Episode | None = None
    settings: dict[str, TermSettings] = field(default_factory=dict)
    specification: str = ""
    specification_hash: str = ""
    specification_text: str = ""
    mode: str = ""
    steps: list[Step] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    phases: list[tuple[int, str]] = field(default_factory=list)
    frame: str = ""
    path: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 4)))
    joints: list[tuple[int, dict[str, Joint]]] = field(default_factory=list)
    first_objects: SceneObjects | None = None
    last_objects: SceneObjects | None = None
    robot_description: str = ""
    cameras: dict[str, str] = field(default_factory=dict)
    camera_stamps: dict[str, list[int]] = field(default_factory=dict)
    messages: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def begin_ns(self) -> int:
        """Where the run begins: its episode's start, else the first known stamp."""
        if self.episode is not None:
            return self.episode.started_ns
        return min(self._stamps(), default=0)

    @property
    def end_ns(self) -> int:
        """Where the run ends: its episode's end, else the last known stamp."""
        if self.episode is not None and self.episode.ended_ns is not None:
            return self.episode.ended_ns
        return max(self._stamps(), default=self.begin_ns)

    @property
    def charges(self) -> list[Charge]:
        """Every step that cost something, once for each term."""
        return [
            Charge(step.stamp_ns, name, term.cause)
            for step in self.steps
            for name, term in step.terms.items()
            if term.cost > 0.0
        ]

    def within(self, stamp_ns: int) -> bool:
        """Whether a stamp belongs to the run: to its episode, or to the bag if it has none."""
        if self.episode is None:
            return True
        ended_ns = self.episode.ended_ns
        return self.episode.started_ns <= stamp_ns and (ended_ns is None or stamp_ns <= ended_ns)

    def _stamps(self) -> list[int]:
        stamps = [step.stamp_ns for step in self.steps]
        stamps += [decision.stamp_ns for decision in self.decisions]
        if len(self.path):
            stamps += [int(self.path[0, 0]), int(self.path[-1, 0])]
        for of_camera in self.camera_stamps.values():
            stamps += of_camera[:1] + of_camera[-1:]
        return stamps


def read_run(bag: Bag) -> RunLog:
    """Read a bag's run. Whatever is missing stays empty and is named in `notes`."""
    return _Reading(bag).read()


class _Reading:
    """One pass over a bag."""

    def __init__(self, bag: Bag) -> None:
        self._bag = bag
        self._log = RunLog()
        names = keys.nested(bag.provenance, keys.TOPICS)
        self._roles = {str(name): role for role, name in names.items()}
        self._first_of_type: dict[str, str] = {}
        self._episodes: dict[str, Episode] = {}
        self._of_episode: list[tuple[str, Step | Decision]] = []
        self._paths: dict[str, list[tuple[float, float, float, float]]] = {}
        self._frames: dict[str, str] = {}
        self._refused: set[str] = set()
        own = "safevla_ros/msg/"
        self._readers: dict[str, Callable[[RawMessage, Any], None]] = {
            own + "Episode": self._episode,
            own + "CostSpecification": self._specification,
            own + "CostVector": self._costs,
            own + "GatedAction": self._gated,
            own + "SafetyStatus": self._status,
            own + "SceneObjects": self._objects,
            "diagnostic_msgs/msg/DiagnosticArray": self._diagnostics,
            "nav_msgs/msg/Odometry": self._odometry,
            "geometry_msgs/msg/PoseWithCovarianceStamped": self._localisation,
            "sensor_msgs/msg/JointState": self._joint_states,
            "std_msgs/msg/String": self._description,
        }

    def read(self) -> RunLog:
        for raw in self._bag.messages():
            self._log.messages += 1
            kind = self._bag.topics[raw.topic].type
            if kind in IMAGE_TYPES:
                self._camera(raw)
            elif kind in self._readers and self._is_meant(raw.topic, kind):
                self._take(raw, kind)
        self._finish()
        return self._log

    def _take(self, raw: RawMessage, kind: str) -> None:
        try:
            self._readers[kind](raw, self._bag.decode(raw))
        except (BagError, MessageError) as error:
            self._refuse(raw.topic, str(error))
        except (AttributeError, KeyError) as error:
            self._refuse(raw.topic, f"not the {kind} of this version: {error!r}")

    def _refuse(self, topic: str, why: str) -> None:
        if topic not in self._refused:
            self._refused.add(topic)
            self._log.notes.append(f"topic {topic}: a message was left out: {why}")

    def _is_meant(self, topic: str, kind: str) -> bool:
        """Whether this is the robot's signal, and not another topic of the same type."""
        if kind not in _SIGNALS:
            return True
        if self._roles:
            return self._roles.get(topic) == _SIGNALS[kind]
        if kind == "std_msgs/msg/String":
            return topic.endswith("/robot_description")
        return self._first_of_type.setdefault(kind, topic) == topic

    def _camera(self, raw: RawMessage) -> None:
        role = self._roles.get(raw.topic, "" if self._roles else f"cameras.{raw.topic}")
        if not role.startswith("cameras."):
            return
        name = role.removeprefix("cameras.")
        self._log.cameras.setdefault(name, raw.topic)
        try:
            stamp = stamp_ns(self._bag.decode(raw).header.stamp)
        except BagError as error:
            self._refuse(raw.topic, str(error))
            return
        self._log.camera_stamps.setdefault(name, []).append(stamp)

    def _name(self, topic: str, value: int, *names: str) -> str:
        """Name of a constant of a topic's type, among those that mean the same field."""
        constants = self._bag.constants(topic)
        return next((name for name in names if constants.get(name) == value), f"{value}")

    def _episode(self, raw: RawMessage, message: Any) -> None:
        ended = self._name(raw.topic, message.state, "RUNNING", "ENDED", "ENDING") == "ENDED"
        outcome = self._name(raw.topic, message.outcome, "UNKNOWN", "SUCCESS", "FAILURE", "ABORTED")
        self._episodes[message.id] = Episode(
            id=message.id,
            instruction=message.instruction,
            task=message.task,
            target_class=message.target_class,
            target_ids=tuple(message.target_ids),
            policy_id=message.policy_id,
            policy_sha256=message.policy_sha256,
            started_ns=stamp_ns(message.started) or stamp_ns(message.header.stamp),
            ended_ns=stamp_ns(message.header.stamp) if ended else None,
            outcome=outcome,
            reason=message.outcome_reason,
            steps=int(message.steps),
        )

    def _specification(self, raw: RawMessage, message: Any) -> None:
        self._log.specification = message.name
        self._log.specification_hash = message.hash
        self._log.specification_text = message.yaml
        self._log.settings = {
            term.name: TermSettings(
                term.name, term.unit, term.warning, None if math.isnan(term.budget) else term.budget
            )
            for term in message.terms
        }

    def _costs(self, raw: RawMessage, message: Any) -> None:
        ok = self._bag.constants(raw.topic, "safevla_ros/msg/TermCost")["OK"]
        terms = {
            term.name: TermStep(
                applicable=term.status == ok,
                cost=term.cost,
                margin=term.margin,
                cumulative=term.cumulative,
                cause=term.cause,
            )
            for term in message.terms
        }
        step = Step(stamp_ns(message.header.stamp), int(message.step), terms)
        self._of_episode.append((message.episode_id, step))

    def _gated(self, raw: RawMessage, message: Any) -> None:
        decision = Decision(
            stamp_ns=stamp_ns(message.header.stamp),
            source=message.source,
            chunk_id=int(message.proposed.chunk_id),
            step=int(message.step),
            decision=self._name(raw.topic, message.decision, *DECISIONS),
            reason=message.reason,
            detail=message.detail,
            term=message.term,
            latency_ms=stages_ms(message.trace),
        )
        self._of_episode.append((message.episode_id, decision))

    def _status(self, raw: RawMessage, message: Any) -> None:
        mode = self._bag.constants(raw.topic)
        names = [
            name for name in ("SHADOW", "OBSERVE", "ENFORCE") if mode.get(name) == message.mode
        ]
        self._log.mode = names[0].lower() if names else str(message.mode)

    def _objects(self, raw: RawMessage, message: Any) -> None:
        objects = scene_objects_from(message)
        if self._log.first_objects is None:
            self._log.first_objects = objects
        self._log.last_objects = objects

    def _diagnostics(self, raw: RawMessage, message: Any) -> None:
        """A scripted policy says there what it is busy with."""
        for status in message.status:
            for item in status.values:
                if item.key == "phase":
                    self._log.phases.append((stamp_ns(message.header.stamp), item.value))

    def _odometry(self, raw: RawMessage, message: Any) -> None:
        odometry = odometry_from(message)
        self._pose("odometry", message, odometry.frame, odometry.pose)

    def _localisation(self, raw: RawMessage, message: Any) -> None:
        localisation = localisation_from(message)
        self._pose("localisation", message, localisation.frame, localisation.pose)

    def _pose(self, source: str, message: Any, frame: str, pose: Any) -> None:
        stamp = stamp_ns(message.header.stamp)
        x, y, _ = pose.position
        self._paths.setdefault(source, []).append((stamp, x, y, yaw_of(pose.orientation)))
        self._frames[source] = frame

    def _joint_states(self, raw: RawMessage, message: Any) -> None:
        # Some robots report their joints in several messages.
        known = self._log.joints[-1][1] if self._log.joints else {}
        joints = known | joints_from(message)
        self._log.joints.append((stamp_ns(message.header.stamp), joints))

    def _description(self, raw: RawMessage, message: Any) -> None:
        self._log.robot_description = message.data

    def _finish(self) -> None:
        log = self._log
        log.notes += self._bag.damage
        wanted = self._bag.provenance.get(keys.EPISODE_ID) or next(reversed(self._episodes), "")
        log.episode = self._episodes.get(wanted)
        if log.episode is None:
            log.notes.append("the bag holds no episode")
        if mixed := interleaved(id for id, item in self._of_episode if isinstance(item, Step)):
            log.notes.append(f"{mixed_up(mixed)}; pictures and path may be of either")
        for episode_id, item in self._of_episode:
            if log.episode is not None and episode_id != log.episode.id:
                continue
            if isinstance(item, Step):
                log.steps.append(item)
            else:
                log.decisions.append(item)
        source = "localisation" if "localisation" in self._paths else "odometry"
        log.frame = self._frames.get(source, "")
        path = np.array(self._paths.get(source, []), np.float64).reshape(-1, 4)
        inside = [log.within(int(stamp)) for stamp in path[:, 0]]
        log.path = path[inside]
        log.joints = [item for item in log.joints if log.within(item[0])]
        log.camera_stamps = {
            name: [stamp for stamp in stamps if log.within(stamp)]
            for name, stamps in log.camera_stamps.items()
        }
