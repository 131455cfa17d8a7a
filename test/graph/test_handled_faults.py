"""What the safety nodes do in faults that cannot be brought about from outside, or not at will: their
own methods, on just what each of them needs."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
import rclpy
from geometry_msgs.msg import Twist

from safevla_ros.msg import Heartbeat
from safevla_ros.nodes import topics
from safevla_ros.nodes.cost_monitor import CostMonitor
from safevla_ros.nodes.monitor.heartbeat import Heartbeats
from safevla_ros.nodes.safety_watchdog import Guard, SafetyWatchdog
from safevla_ros.robot.profile import load_profile
from safevla_ros.robot.state import NANOSECONDS, BaseVelocity, Command
from safevla_ros.safety import Decision, Gate, Reason, Signals, Verdict, load_specification

PROFILE = load_profile("sim")
LOGGER = SimpleNamespace(error=lambda *_, **__: None, warning=lambda *_, **__: None)


class Wire:
    """What would have been published."""

    def __init__(self):
        self.sent = []

    def publish(self, command, joints):
        self.sent.append(command)

    def stop(self, joints):
        self.sent.append("stop")


@pytest.fixture
def monitor():
    monitor = SimpleNamespace(
        profile=PROFILE, _final=Wire(), _gate=Gate(PROFILE, load_specification("household"), "enforce"),
        _tick_s=time.monotonic(), _signals=SimpleNamespace(joints={}, latest=Signals()),
        _release_commanded=False, get_logger=lambda: LOGGER,
    )  # fmt: skip
    monitor._latch_after_pause = lambda now_s: CostMonitor._latch_after_pause(monitor, now_s)
    return monitor


def latched_for(monitor):
    assert monitor._gate.latched
    return monitor._gate.supervise(None, 0, 0.0).reason


def test_a_callback_that_fails_latches_and_the_monitor_goes_on(monitor):
    assert CostMonitor.on_callback_error(monitor, "callback of topic scan", ValueError("odd"))
    assert latched_for(monitor) is Reason.INTERNAL


def test_a_tick_that_fails_again_in_a_latched_stop_ends_the_monitor(monitor):
    assert CostMonitor.on_callback_error(monitor, "timer of 0.02 s", ValueError("odd"))
    assert not CostMonitor.on_callback_error(monitor, "timer of 0.02 s", ValueError("odd"))


def test_a_monitor_that_was_paused_after_it_decided_forwards_nothing(monitor):
    verdict = Verdict(
        Decision.PASS, Reason.ACCEPTED, "", Command(BaseVelocity(x=0.2), duration_s=0.5)
    )
    assert CostMonitor._carry_out(monitor, verdict, time.monotonic())
    assert monitor._final.sent == [verdict.command]
    paused_s = PROFILE.heartbeat_timeout_s + 0.1
    monitor._tick_s = time.monotonic() - paused_s
    assert not CostMonitor._carry_out(monitor, verdict, time.monotonic() - paused_s)
    assert monitor._final.sent[1:] == ["stop"]
    assert latched_for(monitor) is Reason.STALLED


def test_what_was_received_before_the_clock_went_back_is_forgotten(monitor):
    times = iter([10.0, 10.5, 10.48, 3.0])
    monitor.now_ns = lambda: round(next(times) * NANOSECONDS)
    monitor._now_ns, monitor._world = 0, "a world"
    monitor._signals.latest.update("joint_states", 10 * NANOSECONDS, {})
    for _ in range(3):  # the last of them goes back by less than clocks differ
        CostMonitor._ros_time(monitor)
    assert monitor._world == "a world"
    assert CostMonitor._ros_time(monitor) == 3 * NANOSECONDS
    assert monitor._world is None
    assert monitor._signals.latest.stamps == {}


@pytest.fixture
def watchdog():
    watchdog = SimpleNamespace(
        profile=PROFILE, _joints={}, _malformed=0, _guard=Guard.GUARDING, told=[],
        get_logger=lambda: LOGGER,
    )  # fmt: skip
    watchdog._latch = watchdog.told.append
    return watchdog


def test_a_watchdog_whose_callback_fails_stops_the_robot_and_without_its_tick_it_ends(watchdog):
    assert SafetyWatchdog.on_callback_error(watchdog, "callback of topic odom", ValueError("odd"))
    assert watchdog.told == ["callback of topic odom failed"]
    assert not SafetyWatchdog.on_callback_error(watchdog, "timer of 0.02 s", ValueError("odd"))


def test_joint_states_that_cannot_be_read_leave_the_watchdog_what_it_knows(watchdog):
    good = SimpleNamespace(name=["lift"], position=[0.4], velocity=[], effort=[])
    SafetyWatchdog._on_joints(watchdog, good)
    for position in ([float("nan")], []):
        bad = SimpleNamespace(name=["lift"], position=position, velocity=[], effort=[])
        SafetyWatchdog._on_joints(watchdog, bad)
    assert watchdog._joints["lift"].position == 0.4
    assert watchdog._malformed == 2


@pytest.mark.parametrize(
    ("speed", "is_latched", "is_shadow", "stops"),
    [(0.3, True, False, 1), (0.0, True, False, 0), (0.3, False, False, 0), (0.3, True, True, 0)],
)
def test_motion_during_a_stop_is_answered_before_the_next_tick(
    watchdog, speed, is_latched, is_shadow, stops
):
    stopped = []
    watchdog._is_latched, watchdog._is_shadow = is_latched, is_shadow
    watchdog._stop_robot = lambda: stopped.append("stop")
    twist = Twist()
    twist.linear.x = speed
    SafetyWatchdog._on_final_command(watchdog, twist)
    assert len(stopped) == stops


def test_a_heartbeat_that_waits_to_be_read_is_read_before_silence_is_judged(graph):
    """By a node that is not spun meanwhile: as one whose callback takes long."""
    node = rclpy.create_node("busy", context=graph.node.context)
    try:
        ends = SimpleNamespace(
            publisher=node.create_publisher, subscription=node.create_subscription
        )
        listener = Heartbeats(ends, "own", "other", timeout_s=0.1)
        sender = graph.node.create_publisher(Heartbeat, "other", topics.reliable(1))
        graph.wait_matched(sender)
        sender.publish(Heartbeat(latched=True))
        graph.wait_for(lambda: listener.wait(0.05), "the first heartbeat")
        time.sleep(0.15)
        sender.publish(Heartbeat(latched=False))

        def heard():
            listener.listen(time.monotonic())
            return not listener.other_latched

        graph.wait_for(heard, "the heartbeat that waits")
    finally:
        node.destroy_node()
