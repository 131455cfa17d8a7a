"""The least that can stand between a policy and a robot: passes the twist of each candidate on.

What `safevla bench gate` compares the cost monitor with. It is no part of any graph.
"""

from __future__ import annotations

import contextlib

import rclpy
from geometry_msgs.msg import Twist
from rclpy.executors import ExternalShutdownException

from safevla_ros.msg import CandidateCommand
from safevla_ros.nodes import topics
from safevla_ros.nodes.monitor.priority import raise_priority

CANDIDATES, COMMANDS = "relay/candidate_command", "relay/cmd_vel"


def main() -> None:
    """Relay until told to end, as important to the system as the cost monitor is."""
    raise_priority()
    rclpy.init()
    node = rclpy.create_node("relay")
    publisher = node.create_publisher(Twist, COMMANDS, topics.reliable(depth=1))
    node.create_subscription(
        CandidateCommand,
        CANDIDATES,
        lambda candidate: publisher.publish(candidate.twist),
        topics.reliable(depth=1),
    )
    with contextlib.suppress(ExternalShutdownException, KeyboardInterrupt):
        rclpy.spin(node)


if __name__ == "__main__":
    main()
