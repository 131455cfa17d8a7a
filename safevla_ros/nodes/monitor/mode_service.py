"""The service that brings a robot's driver into the mode in which it takes commands."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from safevla_ros.nodes.lifecycle import ConfigurationError, GraphNode
from safevla_ros.robot.profile import Trigger as TriggerService

OFFERED_S = 5.0
"""How long the service may take to be discovered."""
ANSWERED_S = 15.0
"""How long the driver may take to switch."""


def switch_mode(
    node: GraphNode, service: TriggerService, period_s: float, meanwhile: Callable[[], None]
) -> None:
    """Call a profile's `mode_service` and wait for its answer, within a callback of `node`.

    The node's own executor stands still as long, so the call goes through a node of its own;
    `meanwhile` is called every `period_s`. Raises ConfigurationError when nobody offers the
    service, when it does not answer, and when it refuses.
    """
    caller = Node(
        f"{node.get_name()}_mode",
        context=node.context,
        namespace=node.get_namespace(),
        use_global_arguments=False,
        start_parameter_services=False,
        enable_rosout=False,
    )
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(caller)

    def wait(condition: Callable[[], bool], limit_s: float) -> bool:
        end_s = time.monotonic() + limit_s
        while not condition() and time.monotonic() < end_s:
            executor.spin_once(timeout_sec=period_s)
            meanwhile()
        return condition()

    name = f"outputs.mode_service: {service.service}"
    is_trigger = service.type.endswith("Trigger")
    try:
        kind = Trigger if is_trigger else SetBool
        client = caller.create_client(kind, node.resolve_service_name(service.service))
        if not wait(client.service_is_ready, OFFERED_S):
            raise ConfigurationError(f"{name}: nobody offers it; is the robot's driver running?")
        answer = client.call_async(Trigger.Request() if is_trigger else SetBool.Request(data=True))
        if not wait(answer.done, ANSWERED_S):
            raise ConfigurationError(f"{name}: no answer within {ANSWERED_S:.0f} s")
        response = answer.result()
        if response is None or not response.success:
            reason = response.message if response is not None else ""
            raise ConfigurationError(f"{name}: the robot refused: {reason or 'no reason given'}")
    finally:
        executor.shutdown(timeout_sec=1.0)
        caller.destroy_node()
