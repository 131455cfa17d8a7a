"""Short looks at a live ROS graph, by somebody who takes no part in it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import LoggingSeverity, set_logger_level
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from safevla_ros.nodes.graph.graph_check import Finding, GraphCheck
from safevla_ros.nodes.graph.middleware import graph_environment
from safevla_ros.robot.profile import Profile

DISCOVERY_S = 1.5  # a newcomer is answered at once, but by processes that may be busy


@contextmanager
def _onlooker(namespace: str = "") -> Iterator[Node]:
    """A node for as long as the block lasts."""
    # The shipped profile for this process too: it announces itself often enough to be answered soon.
    os.environ.update(graph_environment(os.environ, simulated=False))
    context = Context()
    rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = Node(
            "safevla_onlooker",
            context=context,
            namespace=namespace,
            use_global_arguments=False,
            start_parameter_services=False,
            enable_rosout=False,
        )
        # rclpy's warnings about what does not match would say twice what the findings say.
        set_logger_level(node.get_logger().name, LoggingSeverity.FATAL)
        yield node
        node.destroy_node()
    finally:
        context.try_shutdown()


def nodes_on_domain(wait_s: float = DISCOVERY_S) -> list[str]:
    """Full names of the nodes that are heard of within `wait_s`, sorted, without one's own."""
    with _onlooker() as node:
        time.sleep(wait_s)  # discovery has no end that could be awaited
        return sorted(
            {
                f"{namespace.rstrip('/')}/{name}"
                for name, namespace in node.get_node_names_and_namespaces()
                if name != node.get_name()
            }
        )


def check_graph(profile: Profile, namespace: str = "") -> list[Finding]:
    """Compare the live graph with a profile; takes some seconds."""
    with _onlooker(namespace) as node:
        check = GraphCheck(node, profile)
        executor = SingleThreadedExecutor(context=node.context)
        executor.add_node(node)
        end = time.monotonic() + check.listen_s
        while (left := end - time.monotonic()) > 0.0:
            executor.spin_once(timeout_sec=left)
        findings = check.findings()
        executor.shutdown()
        return findings
