"""Who else is on the ROS domain."""

from __future__ import annotations

import time

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

DISCOVERY_S = 1.5  # participants announce themselves every 3 s at the worst, but answer newcomers


def nodes_on_domain(wait_s: float = DISCOVERY_S) -> list[str]:
    """Full names of the nodes that are heard of within `wait_s`, sorted, without one's own."""
    context = Context()
    rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = Node(
            "safevla_looks_around",
            context=context,
            use_global_arguments=False,
            start_parameter_services=False,
            enable_rosout=False,
        )
        time.sleep(wait_s)  # discovery has no end that could be awaited
        found = {
            f"{namespace.rstrip('/')}/{name}"
            for name, namespace in node.get_node_names_and_namespaces()
            if name != node.get_name()
        }
        node.destroy_node()
    finally:
        context.try_shutdown()
    return sorted(found)
