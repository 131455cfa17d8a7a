"""Does a simulated scenario's task once: sim.launch.py starts it beside the graph.

It waits for the graph, however that was brought up, asks the simulator for the task, sends the goal
and logs how it ended. Exit code 0: the episode ran to a verdict, whichever; 1: it did not.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import rclpy
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from safevla_ros.nodes.operator import Operator, RunError, run_scenario
from safevla_ros.nodes.run_state import RunState

NEEDED = ("cost_monitor", "sim_robot", "camera_ingest", "training_bridge", "vla_inference")
PATIENCE_S = 180.0  # for a graph that is still starting, and compiles code the first time
RETRY_S = 1.0
SPIN_S = 0.2
TRAILING_S = 2.0  # the recorder takes in the last messages before all is stopped


def wait_until_active(operator: Operator, executor: SingleThreadedExecutor, name: str) -> None:
    """Until a node is active: a goal that comes earlier is refused. Raises RunError."""
    client = operator.create_client(GetState, f"{name}/get_state")
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if client.service_is_ready():
            future = client.call_async(GetState.Request())
            executor.spin_until_future_complete(future, RETRY_S)
            if future.done() and future.result().current_state.id == State.PRIMARY_STATE_ACTIVE:
                operator.destroy_client(client)
                return
        executor.spin_once(timeout_sec=SPIN_S)
    raise RunError(f"{name} is not active after {PATIENCE_S:.0f} s")


def main(args: list[str] | None = None) -> int:
    """Entry point of the process."""
    rclpy.init(args=args)
    operator = Operator(RunState(), use_global_arguments=True)
    executor = SingleThreadedExecutor()
    executor.add_node(operator)

    def wait(condition: Callable[[], bool], timeout_s: float) -> bool:
        end = time.monotonic() + timeout_s
        while not condition() and time.monotonic() < end:
            executor.spin_once(timeout_sec=SPIN_S)
        return condition()

    try:
        for name in NEEDED:
            wait_until_active(operator, executor, name)
        result = run_scenario(operator, wait)
        operator.get_logger().info(
            f"{result.outcome}: {result.reason} ({result.steps} steps, {result.duration_s:.1f} s)"
        )
        wait(lambda: False, TRAILING_S)
        return 0 if result.completed else 1
    except RunError as error:
        operator.get_logger().error(str(error))
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        return 1
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
