"""The robot's signals as the monitor takes them in: subscribed by profile, read, checked, kept.

A message that cannot be read is counted and reported once a second; its signal keeps the last good
reading, which goes stale by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from safevla_ros.nodes import topics
from safevla_ros.nodes.lifecycle import GraphNode
from safevla_ros.nodes.message_types import message_type
from safevla_ros.robot.messages import MessageError, read_signal, stamp_ns
from safevla_ros.robot.profile import Profile
from safevla_ros.robot.state import Joint
from safevla_ros.safety.world import Signals


class RobotSignals:
    """The latest readings. `on_odometry` hears the stamp [ns] of each new odometry."""

    def __init__(
        self, node: GraphNode, profile: Profile, on_odometry: Callable[[int], None]
    ) -> None:
        self.latest = Signals()
        self.malformed: Counter[str] = Counter()
        """Messages that could not be read, by signal, since configure."""
        self._complaints: dict[str, str] = {}
        self._on_odometry = on_odometry
        self._topics = {name: signal.topic for name, signal in profile.signals.present().items()}
        for name, signal in profile.signals.present().items():
            node.subscription(
                message_type(signal.type),
                signal.topic,
                partial(self._on_message, name),
                topics.sensor(is_reliable=signal.reliable),
            )

    @property
    def joints(self) -> Mapping[str, Joint]:
        """The measured joints; {} when none were received."""
        entry = self.latest.latest("joint_states")
        return {} if entry is None else entry[1]

    def complaints(self) -> list[str]:
        """What could not be read since the last call, a sentence per signal."""
        sentences, self._complaints = list(self._complaints.values()), {}
        return sentences

    def _on_message(self, name: str, message: Any) -> None:
        try:
            reading = read_signal(name, message)
        except MessageError as error:
            self.malformed[name] += 1
            self._complaints[name] = (
                f"{self._topics[name]}: {error} ({self.malformed[name]} messages so far)"
            )
            return
        stamp = stamp_ns(message.header.stamp)
        if self.latest.update(name, stamp, reading) and name == "odometry":
            self._on_odometry(stamp)
