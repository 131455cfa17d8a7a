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
from rclpy.client import Client
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from safevla_ros.nodes.operator import Operator, RunError, RunResult
from safevla_ros.nodes.run_state import RunState

NEEDED = ("cost_monitor", "sim_robot", "camera_ingest", "training_bridge", "vla_inference")
PATIENCE_S = 120.0  # for a graph that is still starting
RETRY_S = 1.0
ANSWER_S = 10.0
TRAILING_S = 2.0  # the recorder takes in the last messages before all is stopped


class _Run:
    """One run of the operator, spun until it is over."""

    def __init__(self, operator: Operator, executor: SingleThreadedExecutor) -> None:
        self._operator = operator
        self._executor = executor
        self._states = [operator.create_client(GetState, f"{name}/get_state") for name in NEEDED]

    def carry_out(self) -> RunResult:
        """Raises RunError."""
        for client in self._states:
            self._wait_until_active(client)
        self._wait(self._operator.is_connected, PATIENCE_S, "the graph is not complete")
        answer = self._operator.reset_scenario()
        self._wait(answer.done, ANSWER_S, "sim_robot does not answer")
        task = answer.result()
        if not task.success:
            raise RunError(f"sim_robot: {task.message}")
        self._operator.get_logger().info(f"task: {task.instruction}")
        self._operator.run(task)
        while (result := self._operator.result()) is None:
            self._executor.spin_once(timeout_sec=0.2)
        return result

    def settle(self) -> None:
        """Let the others finish."""
        end = time.monotonic() + TRAILING_S
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.2)

    def _wait_until_active(self, client: Client) -> None:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if client.service_is_ready():
                future = client.call_async(GetState.Request())
                self._executor.spin_until_future_complete(future, RETRY_S)
                if future.done() and future.result().current_state.id == State.PRIMARY_STATE_ACTIVE:
                    return
            self._executor.spin_once(timeout_sec=0.2)
        raise RunError(f"{client.srv_name} does not answer `active` after {PATIENCE_S:.0f} s")

    def _wait(self, condition: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                raise RunError(f"{otherwise} after {timeout_s:.0f} s")
            self._executor.spin_once(timeout_sec=0.2)


def main(args: list[str] | None = None) -> int:
    """Entry point of the process."""
    rclpy.init(args=args)
    operator = Operator(RunState(), use_global_arguments=True)
    executor = SingleThreadedExecutor()
    executor.add_node(operator)
    run = _Run(operator, executor)
    try:
        result = run.carry_out()
        operator.get_logger().info(
            f"{result.outcome}: {result.reason} ({result.steps} steps, {result.duration_s:.1f} s)"
        )
        run.settle()
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
