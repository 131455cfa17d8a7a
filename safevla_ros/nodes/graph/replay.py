"""A bag played to the safety nodes: the monitor judges the recorded commands and prices the recorded
steps again, as it did when the robot heard them.

Everything runs in the namespace /replay with a profile of its own, in which every topic is relative
and no service of the robot is called: whatever the monitor sends reaches nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rclpy.context import Context
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.node import Node
from rclpy.publisher import Publisher

from safevla_ros.bags import BagError
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.catalogue import COST_VECTOR
from safevla_ros.bags.reader import Bag
from safevla_ros.msg import CostVector, GatedAction
from safevla_ros.nodes import topics
from safevla_ros.nodes.bridge.recorded_topics import wanted_topics
from safevla_ros.nodes.graph.bringup import SAFETY_NICE, Graph, NodeSpec, Value
from safevla_ros.nodes.message_types import message_type
from safevla_ros.robot.profile import Profile

NAMESPACE = "/replay"
CLOCK = "/clock"
TRAILING_S = 2.0
"""So long after the last message its costs are awaited."""
PLAYED = ("episode", "clock", "estop")
"""Roles that are played, beside the robot's signals and the sources of commands."""


@dataclass(frozen=True, slots=True)
class Played:
    """A recorded topic that is played: its name in the bag and in the graph, and its type."""

    recorded: str
    topic: str
    type: str
    qos: Any


def replay_profile(profile: Profile) -> Profile:
    """A profile with every topic relative, that commands nobody and calls nothing."""
    content = profile.model_dump(exclude_none=True)

    def relative(item: Any) -> None:
        if isinstance(item, dict):
            for key, value in item.items():
                if key.endswith("topic") and isinstance(value, str):
                    item[key] = value.lstrip("/")
                else:
                    relative(value)
        elif isinstance(item, list):
            for value in item:
                relative(value)

    relative(content)
    outputs = content["outputs"]
    for service in ("stop_service", "mode_service"):
        outputs.pop(service, None)
    for number, joints in enumerate(outputs["joints"]):
        if joints.pop("action", None) is not None:
            joints["topic"] = f"joint_trajectory_{number}"
    content["simulated"] = True  # its time is the bag's
    return Profile.model_validate(content)


def describe_replay(profile: Profile, folder: Path, mode: str, specification: Path) -> Graph:
    """The safety nodes for a replay; the profile they use is written into `folder`."""
    path = folder / "robot.yaml"
    path.write_text(yaml.safe_dump(profile.model_dump(mode="json", exclude_none=True)))
    common: dict[str, Value] = {"robot": str(path), "use_sim_time": True}
    own: dict[str, Value] = {"mode": mode, "specification": str(specification)}
    return Graph(
        profile=profile,
        nodes=(
            NodeSpec("safety_watchdog", 0, common, required=True, nice=SAFETY_NICE),
            NodeSpec("cost_monitor", 1, common | own, required=True, nice=SAFETY_NICE),
        ),
        policy="",
        namespace=NAMESPACE,
        use_sim_time=True,
        final_topics=profile.outputs.final_topics(),
    )


def played_topics(bag: Bag, profile: Profile) -> list[Played]:
    """What of a bag is played, by the roles in its provenance. Raises BagError without any."""
    roles = keys.nested(bag.provenance, keys.TOPICS)
    found = []
    for wanted in wanted_topics(profile):
        is_played = wanted.role in PLAYED or wanted.role.startswith(("signals.", "sources."))
        if is_played and wanted.role in roles:
            topic = wanted.topic.lstrip("/")
            name = CLOCK if wanted.role == "clock" else f"{NAMESPACE}/{topic}"
            qos = topics.latched() if wanted.role == "episode" else topics.reliable(100)
            found.append(Played(str(roles[wanted.role]), name, wanted.type, qos))
    if not found:
        raise BagError(
            f"{bag.path}: does not say which of its topics are whose: it was not recorded here"
        )
    return found


class Player(Node):
    """Publishes what was recorded and keeps what the monitor says about it."""

    def __init__(self, context: Context, bag: Bag, played: list[Played]) -> None:
        super().__init__(
            "player",
            context=context,
            namespace=NAMESPACE,
            use_global_arguments=False,
            start_parameter_services=False,
            enable_rosout=False,
        )
        self._bag = bag
        self.steps: dict[tuple[str, int], CostVector] = {}
        self.decisions: list[GatedAction] = []
        self._publishers_by_topic: dict[str, Publisher] = {
            each.recorded: self.create_publisher(
                message_type(each.type),
                each.topic,
                each.qos,
                # That a second subscription of the monitor asks for kept poses is no news here.
                event_callbacks=PublisherEventCallbacks(use_default_callbacks=False),
            )
            for each in played
        }
        self._episode_topic = next(
            (each.recorded for each in played if each.topic.endswith(topics.EPISODE)), ""
        )
        self.create_subscription(
            CostVector, topics.COST_VECTOR, self._on_step, topics.reliable(100)
        )
        self.create_subscription(
            GatedAction, topics.GATED_ACTION, self.decisions.append, topics.reliable(100)
        )

    def is_heard(self) -> bool:
        """Whether the monitor hears the robot's odometry and the episode."""
        publishers = [self._publishers_by_topic.get(self._episode_topic)]
        return all(each is None or each.get_subscription_count() for each in publishers)

    def play(self, rate: float, spin: Callable[[float], None]) -> Iterator[float]:
        """Publish everything at its time, `rate` times as fast; yields the seconds played."""
        begin_s = time.monotonic()
        first_ns: int | None = None
        for raw in self._bag.messages(self._publishers_by_topic.keys()):
            first_ns = raw.log_time_ns if first_ns is None else first_ns
            at_s = (raw.log_time_ns - first_ns) / 1e9
            while (left_s := begin_s + at_s / rate - time.monotonic()) > 0.0:
                spin(min(left_s, 0.05))
            self._publishers_by_topic[raw.topic].publish(raw.data)
            yield at_s
        end_s = time.monotonic() + TRAILING_S
        while time.monotonic() < end_s:
            spin(0.05)

    def _on_step(self, message: CostVector) -> None:
        self.steps[message.episode_id, message.step] = message


@dataclass(frozen=True, slots=True)
class Comparison:
    """Recorded and replayed steps. `largest_difference`: of costs and margins of the steps that
    both have, in the terms' own units."""

    recorded: int
    replayed: int
    equal: int
    largest_difference: float
    costs: Mapping[str, float]
    decisions: Mapping[str, int]


def compare(bag: Bag, player: Player) -> Comparison:
    """What the monitor said then and now."""
    priced = [name for name, topic in bag.topics.items() if topic.type == COST_VECTOR]
    recorded = {(each.episode_id, int(each.step)): each for _, each in bag.decoded(priced)}
    equal, largest = 0, 0.0
    sums: dict[str, float] = {}
    for key, now in player.steps.items():
        for term in now.terms:
            sums[term.name] = sums.get(term.name, 0.0) + term.cost
        if key in recorded:
            difference = _difference(recorded[key], now)
            equal += difference <= 1e-9
            largest = max(largest, difference)
    names = {
        getattr(GatedAction, n): n for n in ("PASS", "LIMIT", "HALT", "STOP", "LATCHED", "SHADOW")
    }
    counts: dict[str, int] = {}
    for decision in player.decisions:
        name = names.get(decision.decision, "UNKNOWN").lower()
        counts[name] = counts.get(name, 0) + 1
    return Comparison(len(recorded), len(player.steps), equal, largest, sums, counts)


def _difference(one: Any, other: Any) -> float:
    """Largest difference between the costs and margins of the terms that two steps share."""
    terms = {term.name: term for term in one.terms}
    largest = 0.0
    for term in other.terms:
        if term.name in terms:
            for name in ("cost", "margin"):
                then, now = getattr(terms[term.name], name), getattr(term, name)
                if not (then != then and now != now):  # unknown is unknown
                    difference = abs(then - now)
                    largest = max(largest, float("inf") if difference != difference else difference)
    return largest
