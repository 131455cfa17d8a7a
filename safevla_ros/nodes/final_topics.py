"""Who publishes final commands: only the cost monitor and the watchdog of the same graph may."""

from __future__ import annotations

from safevla_ros.nodes.lifecycle import GraphNode
from safevla_ros.robot.profile import Profile

ALLOWED = ("cost_monitor", "safety_watchdog")
UNKNOWN = "_NODE_NAME_UNKNOWN_"
"""What rclpy calls a node whose name has not been discovered yet."""


class FinalTopics:
    """Looks at the graph for publishers that must not be there."""

    def __init__(self, node: GraphNode, profile: Profile) -> None:
        self._node = node
        self._topics = tuple(profile.outputs.final_topics())
        self._unnamed: set[tuple[str, tuple[int, ...]]] = set()

    def intruders(self) -> dict[str, str]:
        """A sentence for each (by an id that stays the same). One without a name counts from the
        second look on: names are discovered a little later than publishers."""
        found: dict[str, str] = {}
        unnamed: set[tuple[str, tuple[int, ...]]] = set()
        for topic in self._topics:
            for endpoint in self._node.get_publishers_info_by_topic(topic):
                if self._is_ours(endpoint.node_name, endpoint.node_namespace):
                    continue
                key = (topic, tuple(endpoint.endpoint_gid))
                if endpoint.node_name == UNKNOWN and key not in self._unnamed:
                    unnamed.add(key)
                    continue
                who = f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"
                found[str(key)] = (
                    f"{who} publishes final commands on {topic}; only the cost monitor may"
                )
        self._unnamed = unnamed
        return found

    def _is_ours(self, name: str, namespace: str) -> bool:
        return name in ALLOWED and namespace == self._node.get_namespace()
