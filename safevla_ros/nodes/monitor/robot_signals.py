"""The robot's signals as the monitor takes them in: subscribed by profile, read, checked, kept.

A message that cannot be read is counted and reported once a second; its signal keeps the last good
reading, which goes stale by itself.

World states are made at each odometry. A contact may be over by then, so those that were told since
the last one are handed on together.
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
from safevla_ros.robot.state import Contact, Joint
from safevla_ros.safety.world import Signals

CONTACTS_DEPTH = 50
"""Contacts messages that may wait to be read: none of them may be lost."""


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
        self._contacts: dict[tuple[str, str, str], Contact] = {}
        """Since the last odometry, by who touches whom."""
        self._topics = {name: signal.topic for name, signal in profile.signals.present().items()}
        for name, signal in profile.signals.present().items():
            depth = {"depth": CONTACTS_DEPTH} if name == "contacts" else {}
            node.subscription(
                message_type(signal.type),
                signal.topic,
                partial(self._on_message, name),
                topics.sensor(is_reliable=signal.reliable, **depth),
            )
            if name in ("localisation", "grid"):
                # A localiser may tell its pose, and a map its cells, only now and then, and keep it for late
                # joiners. The subscription above hears those who keep nothing.
                node.subscription(
                    message_type(signal.type),
                    signal.topic,
                    partial(self._on_message, name),
                    topics.latched(),
                    qos_id="kept",
                    warn=False,  # who keeps nothing does not suit, and need not
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
        if name == "contacts":
            self._contacts |= {(each.link, each.object_id, each.other_id): each for each in reading}
            reading = tuple(self._contacts.values())
        if self.latest.update(name, stamp, reading) and name == "odometry":
            self._on_odometry(stamp)
            self._contacts.clear()
