"""Who publishes final commands: only the cost monitor and the watchdog of the same graph may."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from safevla_ros.robot.profile import Profile

if TYPE_CHECKING:
    from safevla_ros.nodes.lifecycle import GraphNode

ALLOWED = ("cost_monitor", "safety_watchdog")
UNKNOWN = "_NODE_NAME_UNKNOWN_"
"""What rclpy calls a node whose name has not been discovered yet."""
LOOKS = 5
"""A publisher without a name counts from so many looks on: names are discovered after publishers,
and much later on a busy machine. Who is not a ROS node never has one."""


class FinalTopics:
    """Looks at the graph for publishers that must not be there."""

    def __init__(self, node: GraphNode, profile: Profile) -> None:
        self._node = node
        self._topics = tuple(profile.outputs.final_topics())
        self._unnamed: Counter[str] = Counter()

    def intruders(self) -> dict[str, str]:
        """A sentence for each, by an id that stays the same."""
        found: dict[str, str] = {}
        unnamed: Counter[str] = Counter()
        for topic in self._topics:
            for endpoint in self._node.get_publishers_info_by_topic(topic):
                name, namespace = endpoint.node_name, endpoint.node_namespace.rstrip("/")
                if self._is_ours(name, endpoint.node_namespace):
                    continue
                key = f"{topic} {bytes(endpoint.endpoint_gid).hex()}"
                who = f"{namespace}/{name}"
                if name == UNKNOWN:
                    unnamed[key] = self._unnamed[key] + 1
                    if unnamed[key] < LOOKS:
                        continue
                    who = "somebody who is not a ROS node"
                found[key] = f"{who} publishes final commands on {topic}; only the cost monitor may"
        self._unnamed = unnamed
        return found

    def _is_ours(self, name: str, namespace: str) -> bool:
        return name in ALLOWED and namespace == self._node.get_namespace()
