"""What the cost monitor must not leave to its next tick: it is active, and no timer of it runs.

The real node in this process. Nothing spins it while it is active: what a test delivers to one of
its subscriptions is all that happens.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions
from robot import moves
from std_msgs.msg import Bool

from safevla_ros.msg import GatedAction, Heartbeat
from safevla_ros.nodes import topics
from safevla_ros.nodes.cost_monitor import CostMonitor


@pytest.fixture
def node(safety):
    """The monitor, unconfigured, in the default context."""
    rclpy.init(
        args=["--ros-args", "-p", f"robot:={safety.profile}"],
        signal_handler_options=SignalHandlerOptions.NO,
    )
    made = CostMonitor("test")
    yield made
    made.trigger_shutdown()
    made.destroy_node()
    rclpy.try_shutdown()


@pytest.fixture
def unspun(safety, node):
    """The monitor, configured and with fresh signals, and a watchdog's heartbeat made by the test."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    assert node.trigger_configure() is TransitionCallbackReturn.SUCCESS
    beats = safety.graph.node.create_publisher(Heartbeat, topics.WATCHDOG_HEARTBEAT, 1)
    safety.graph.wait_matched(beats)

    def has_fresh_signals():
        executor.spin_once(timeout_sec=0.1)
        messages = safety.robot.statuses.messages
        return bool(messages) and not messages[-1].stale_signals

    safety.graph.wait_for(has_fresh_signals, "a status with fresh signals")

    def activate(*, latched):
        beats.publish(Heartbeat(latched=latched))
        assert node.trigger_activate() is TransitionCallbackReturn.SUCCESS

    def deliver(topic, message):
        for subscription in node.subscriptions:
            if subscription.topic_name == f"/{topic}":
                subscription.callback(message)
                return
        raise AssertionError(f"the monitor does not listen to {topic}")

    yield SimpleNamespace(robot=safety.robot, activate=activate, deliver=deliver)
    executor.shutdown(timeout_sec=2.0)


def test_a_stop_that_the_watchdog_holds_is_heeded_before_the_first_candidate(unspun):
    robot = unspun.robot
    unspun.activate(latched=True)
    candidate = robot.propose(x=0.2)
    unspun.deliver("candidate_command", candidate)
    verdict = robot.wait_verdict(candidate)
    assert (verdict.decision, verdict.reason) == (GatedAction.LATCHED, "watchdog_lost")
    assert not any(moves(twist) for twist in robot.final.messages)


def test_an_estop_stops_the_robot_without_waiting_for_a_tick(unspun):
    robot = unspun.robot
    unspun.activate(latched=False)
    before = robot.final.mark()
    unspun.deliver("estop", Bool(data=True))
    assert not moves(robot.final.wait(what="a stop", since=before, deadline_s=10.0))
