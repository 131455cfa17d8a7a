"""The robot's signals as a bag holds them, fed again to what the monitor feeds them to.

`robot_signals` of the nodes is the live counterpart: like it, contacts that were told since the last
odometry are handed on together.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from safevla_ros.bags import BagError, RawMessage
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.reader import Bag
from safevla_ros.robot.messages import MessageError, read_signal, stamp_ns
from safevla_ros.robot.profile import Profile
from safevla_ros.robot.state import Contact
from safevla_ros.safety.world import Signals


@dataclass(slots=True)
class _Channel:
    """Messages of one signal in the order of the file, and how far they were fed."""

    stamps: list[int] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    raw: list[RawMessage] = field(default_factory=list)
    fed: int = 0


def signal_topics(bag: Bag, profile: Profile) -> dict[str, str]:
    """Topic in the bag -> name of the robot's signal, by the bag's provenance, else by the profile."""
    roles = {role: str(topic) for role, topic in keys.nested(bag.provenance, keys.TOPICS).items()}
    return {
        roles.get(f"signals.{name}", "/" + signal.topic.lstrip("/")): name
        for name, signal in profile.signals.present().items()
    }


class RecordedSignals:
    """Signals of one bag. `signals` is the state that was fed last."""

    def __init__(self, bag: Bag, profile: Profile) -> None:
        self._bag = bag
        self._names = signal_topics(bag, profile)
        self._channels = {name: _Channel() for name in self._names.values()}
        self.signals = Signals()
        self.unreadable: dict[str, str] = {}
        """Why a message of a signal could not be read, by signal."""

    def add(self, raw: RawMessage) -> None:
        """Take the next message of the bag, if it is one of the signals."""
        name = self._names.get(raw.topic)
        if name is None:
            return
        try:
            stamp = stamp_ns(self._bag.decode(raw).header.stamp)
        except (BagError, AttributeError) as error:
            self.unreadable[name] = str(error)
            return
        channel = self._channels[name]
        channel.stamps.append(stamp)
        channel.received.append(raw.log_time_ns)
        channel.raw.append(raw)

    def odometry_between(self, after_ns: int, before_ns: int) -> int:
        """Number of odometry messages with stamps strictly between two."""
        return sum(after_ns < stamp < before_ns for stamp in self._channels["odometry"].stamps)

    def feed(self, name: str, stamp: int) -> int | None:
        """Feed the message of a signal with this stamp; when it was received [ns]. None: the bag
        does not hold it, or it cannot be read.

        All odometry up to the message is fed too: poses and scans are placed by that of their time.
        """
        channel = self._channels.get(name)
        if channel is None:
            return None
        try:
            index = channel.stamps.index(stamp, max(0, channel.fed - 1))
        except ValueError:
            return None
        if name == "contacts":
            value = self._united_contacts(channel, index)
        else:
            if name == "odometry":
                for earlier in range(channel.fed, index):
                    if (reading := self._read(name, channel, earlier)) is not None:
                        self.signals.update(name, channel.stamps[earlier], reading)
            value = self._read(name, channel, index)
        channel.fed = index + 1
        if value is None:
            return None
        self.signals.update(name, stamp, value)
        return channel.received[index]

    def replay(self, on_odometry: Callable[[int, int], None]) -> None:
        """Feed everything in the order it was received; `on_odometry` hears stamp and time of
        receipt [ns] of each odometry that was accepted."""
        order = sorted(
            (received, name, index)
            for name, channel in self._channels.items()
            for index, received in enumerate(channel.received)
        )
        contacts: dict[tuple[str, str, str], Contact] = {}
        for received, name, index in order:
            channel = self._channels[name]
            value = self._read(name, channel, index)
            if value is None:
                continue
            if name == "contacts":
                contacts |= {(each.link, each.object_id, each.other_id): each for each in value}
                value = tuple(contacts.values())
            if self.signals.update(name, channel.stamps[index], value) and name == "odometry":
                on_odometry(channel.stamps[index], received)
                contacts.clear()

    def _united_contacts(self, channel: _Channel, index: int) -> tuple[Contact, ...] | None:
        """Contacts of the messages since the odometry before; the last word on each pair."""
        first = channel.fed
        if first == 0:  # those before belong to odometry that nobody asked for
            odometry = self._channels["odometry"].received
            at = bisect_right(odometry, channel.received[index])
            before_ns = odometry[at - 1] if at else 0
            first = min(index, bisect_right(channel.received, before_ns))
        united: dict[tuple[str, str, str], Contact] = {}
        for each in range(min(first, index), index + 1):
            contacts = self._read("contacts", channel, each)
            if contacts is None:
                return None
            united |= {(one.link, one.object_id, one.other_id): one for one in contacts}
        return tuple(united.values())

    def _read(self, name: str, channel: _Channel, index: int) -> Any | None:
        try:
            return read_signal(name, self._bag.decode(channel.raw[index]))
        except (BagError, MessageError, AttributeError) as error:
            self.unreadable[name] = str(error)
            return None
