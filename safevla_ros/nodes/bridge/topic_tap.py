"""The recorder's ears: topics taken as the bytes that came from DDS, and what was lost on the way.

Where a publisher offers less than was asked for, less is asked for: a recorder takes what there is.
(`safevla up --check` says what is not as it should be.)
"""

from __future__ import annotations

import functools
import inspect
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription

from safevla_ros.bags import RawMessage
from safevla_ros.bags.definitions import DefinitionError, find_definition
from safevla_ros.bags.mcap_file import Topic
from safevla_ros.nodes.bridge.recorded_topics import KEPT_ROLES, Wanted, as_recorded, weakest
from safevla_ros.nodes.lifecycle import ConfigurationError, GraphNode
from safevla_ros.nodes.message_types import message_type
from safevla_ros.robot.profile import Compression


class TopicTap:
    """Subscriptions to many topics; `take` hears every message. For the executor's thread.

    `guard` makes of a callback one whose exceptions are reported, as the node's own are."""

    def __init__(
        self,
        node: GraphNode,
        take: Callable[[RawMessage], None],
        guard: Callable[[Callable[..., None], str], Callable[..., None]],
    ) -> None:
        self._node = node
        self._forward = take
        self._guard = guard
        self._silent: dict[str, Wanted] = {}
        self._weaker: dict[str, Subscription] = {}
        self._sequences: dict[tuple[str, bytes], int] = {}
        self._peeks: dict[str, Callable[[bytes], None]] = {}
        self.lost: Counter[str] = Counter()
        """Messages by topic that DDS lost on the way here."""
        self.heard: list[Topic] = []
        """The topics as they are heard, whatever they are recorded as."""

    @property
    def counts_lost(self) -> bool:
        """Whether this ROS distribution tells what was lost."""
        return bool(self._sequences)

    def subscribe(self, wanted: Wanted) -> Topic | None:
        """Take a topic from now on. None, with one warning, when its type is not known here. Raises
        ConfigurationError when what is to compress it is not installed."""
        node = self._node
        name = node.resolve_topic_name(wanted.topic)
        try:
            kind = message_type(wanted.type)
            qos, kept = [as_recorded(wanted.qos)], wanted.role in KEPT_ROLES
            heard = Topic(name, wanted.type, find_definition(wanted.type), qos, kept=kept)
        except (ConfigurationError, DefinitionError) as error:
            node.get_logger().warning(f"topic {name} is not recorded: {error}")
            return None
        recorded = self._recorded(heard, wanted)
        node.subscription(kind, wanted.topic, self._taker(name), wanted.qos, raw=True)
        self._silent[name] = wanted
        self.heard.append(heard)
        return recorded

    def _recorded(self, heard: Topic, wanted: Wanted) -> Topic:
        """How a topic stands in a bag. Raises ConfigurationError."""
        if wanted.compress is None:
            return heard
        return Topic(
            self._node.resolve_topic_name(wanted.recorded_topic),
            wanted.recorded_type,
            find_definition(wanted.recorded_type),
            heard.qos,
            source=heard.name,
            encode=_encoder(wanted.compress),
        )

    def peek(self, topic: str, kind: type, take: Callable[[Any], None]) -> None:
        """Have the decoded messages of a subscribed topic given to `take` as well."""
        name = self._node.resolve_topic_name(topic)
        self._peeks[name] = lambda data: take(deserialize_message(data, kind))

    def adapt(self) -> None:
        """Ask for less where nothing was heard because a publisher offers less.

        The first subscription stays, unheard: the events executor does not survive that one is
        destroyed while something happens to it."""
        node = self._node
        for name, wanted in list(self._silent.items()):
            offered = [info.qos_profile for info in node.get_publishers_info_by_topic(name)]
            if not offered:
                continue
            del self._silent[name]
            qos = weakest(wanted.qos, offered)
            if qos is not None:
                callback = self._guard(self._taker(name, weaker=True), f"callback of {name}")
                self._weaker[name] = node.create_subscription(
                    message_type(wanted.type), name, callback, qos, raw=True
                )
                node.get_logger().warning(f"topic {name} is offered with less than expected QoS")

    def destroy(self) -> None:
        """Undo what `adapt` made; the rest goes with the node's entities."""
        for subscription in self._weaker.values():
            self._node.destroy_subscription(subscription)
        self._weaker.clear()

    def _taker(self, topic: str, *, weaker: bool = False) -> Callable[..., None]:
        """The callback of a subscription to a topic."""
        callback = functools.partial(self._take, topic, weaker)
        # Seen as taking message and info, so that rclpy gives both. The events executor hands them
        # over as one tuple, the other as two arguments; `*arguments` is right for either.
        callback.__signature__ = _MESSAGE_AND_INFO
        return callback

    def _take(self, topic: str, weaker: bool, *arguments: Any) -> None:
        if weaker != (topic in self._weaker):
            return  # the other subscription hears this as well
        data, info = arguments if len(arguments) == 2 else arguments[0]
        self._silent.pop(topic, None)
        self._count_lost(topic, info)
        received_ns = info["received_timestamp"] or time.time_ns()
        published_ns = info["source_timestamp"] or received_ns
        self._forward(RawMessage(topic, data, received_ns, published_ns))
        peek = self._peeks.get(topic)
        if peek is not None:
            peek(data)

    def _count_lost(self, topic: str, info: dict[str, Any]) -> None:
        """Gaps in a publisher's own numbers are messages that DDS lost on the way here. Jazzy does
        not tell which publisher a number belongs to; there nothing is counted."""
        publisher, number = info.get("publisher_gid"), info["publication_sequence_number"]
        if publisher is None or number is None:
            return
        key = (topic, publisher["data"])
        last = self._sequences.get(key)
        self._sequences[key] = number
        if last is not None and number > last + 1:
            self.lost[topic] += number - last - 1


def _encoder(how: Compression) -> Callable[[bytes], bytes]:
    try:
        from safevla_ros.bags.compression import image_encoder
    except ImportError as error:
        raise ConfigurationError(
            f"the robot profile has images compressed, which takes OpenCV: {error}"
        ) from error
    return image_encoder(how)


_MESSAGE_AND_INFO = inspect.Signature(
    [inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in ("message", "info")]
)
