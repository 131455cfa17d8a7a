"""The watchdog as a process of its own, with the monitor or a heartbeat made by the test."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
import yaml
from geometry_msgs.msg import Twist
from lifecycle_msgs.msg import State
from robot import TIMEOUT_S, moves, write_profile
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from safevla_ros.msg import Heartbeat, SafetyEvent, SafetyStatus
from safevla_ros.nodes import topics
from safevla_ros.nodes.monitor.heartbeat import Heartbeats


class Pulse:
    """A monitor's heartbeat at 50 Hz, as the test wants it."""

    def __init__(self, graph) -> None:
        self.latched = False
        self._publisher = graph.node.create_publisher(Heartbeat, topics.MONITOR_HEARTBEAT, 1)
        graph.wait_matched(self._publisher)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Pulse:
        self._ended.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def stop(self) -> float:
        """Fall silent; the time of the last beat (steady clock [s])."""
        self._ended.set()
        self._thread.join()
        return self.last_s

    def _run(self) -> None:
        while not self._ended.wait(0.02):
            self._publisher.publish(Heartbeat(latched=self.latched))
            self.last_s = time.monotonic()


@pytest.fixture
def guarded(safety):
    """A watchdog that guards a heartbeat made by the test."""
    safety.watchdog = safety.graph.start("safety_watchdog", robot=safety.profile)
    safety.beats = safety.graph.collect(Heartbeat, topics.WATCHDOG_HEARTBEAT, 10)
    safety.watchdog.bring_up()
    safety.beats.wait()
    safety.pulse = Pulse(safety.graph).start()
    time_before = safety.beats.mark()
    safety.beats.wait(since=time_before + 10)
    yield safety
    safety.pulse.stop()


def latch_and_release(guarded) -> None:
    """A first stop, from which the monitor came back and was reset."""
    guarded.pulse.stop()
    guarded.beats.wait(lambda beat: beat.latched, what="the latch")
    guarded.robot.trajectories.wait(what="a hold")
    guarded.pulse.start()
    release(guarded)


def release(guarded) -> None:
    """The monitor latches itself too, and is reset."""
    beats, pulse = guarded.beats, guarded.pulse
    pulse.latched = True
    beats.wait(since=beats.mark() + 15)
    pulse.latched = False
    beats.wait(lambda beat: not beat.latched, what="the release", since=beats.mark())


def test_publishers_are_there_from_configure_on(safety):
    watchdog = safety.graph.start("safety_watchdog", robot=safety.profile)
    assert watchdog.change("configure")
    node = safety.graph.node
    for topic in ("cmd_vel", "joint_trajectory"):
        safety.graph.wait_for(
            lambda topic=topic: (
                [info.node_name for info in node.get_publishers_info_by_topic(topic)]
                == ["safety_watchdog"]
            ),
            f"the watchdog's publisher on {topic}",
        )


def test_before_the_first_heartbeat_nothing_is_published(safety):
    watchdog = safety.graph.start("safety_watchdog", robot=safety.profile)
    beats = safety.graph.collect(Heartbeat, topics.WATCHDOG_HEARTBEAT, 10)
    watchdog.bring_up()
    beats.wait(since=25)
    assert not any(beat.latched for beat in beats.messages)
    assert safety.robot.final.messages == []
    watchdog.send(15)
    assert watchdog.wait_exit() == 0
    assert safety.robot.final.messages == []


@pytest.mark.smoke
def test_silence_stops_the_robot_and_latches(guarded):
    robot = guarded.robot
    assert robot.final.messages == []
    last_s = guarded.pulse.stop()
    first_s, twist = robot.final.wait_entry(what="a stop")
    assert not moves(twist)
    assert first_s - last_s > TIMEOUT_S - 0.02
    hold = robot.trajectories.wait(what="a hold of the arm")
    held = dict(zip(hold.joint_names, hold.points[0].positions, strict=True))
    assert held == {name: at for name, at in robot.joints.items() if name != "gripper"}
    guarded.beats.wait(lambda beat: beat.latched, what="a latched heartbeat")
    event = robot.events.wait(lambda event: event.kind == SafetyEvent.LATCH, what="a latch")
    assert "no heartbeat of the monitor" in event.detail
    robot.final.wait(what="stops that go on", since=robot.final.mark() + 50)


def test_what_is_held_is_where_the_arm_was_as_the_stop_began(guarded):
    """An arm that sinks under its load must be sent back up, not followed down."""
    robot = guarded.robot
    guarded.pulse.stop()
    first = robot.trajectories.wait(what="a hold")
    robot.joints["lift"] -= 0.05
    later = robot.trajectories.wait(what="later holds", since=5)
    assert later.joint_names == first.joint_names
    assert later.points[0].positions == first.points[0].positions


def test_the_next_stop_holds_the_arm_where_it_has_moved_to_since(guarded):
    robot, beats, pulse = guarded.robot, guarded.beats, guarded.pulse
    latch_and_release(guarded)
    robot.joints["lift"] -= 0.2
    joints = guarded.graph.collect(JointState, "joint_states")
    joints.wait(lambda message: robot.joints["lift"] in message.position, since=10)

    since = robot.trajectories.mark()
    pulse.stop()
    beats.wait(lambda beat: beat.latched, what="another latch", since=beats.mark())
    hold = robot.trajectories.wait(what="another hold", since=since)
    held = dict(zip(hold.joint_names, hold.points[0].positions, strict=True))
    assert held["lift"] == robot.joints["lift"]


def test_every_stop_calls_the_stop_service_also_when_it_comes_up_late(safety):
    outputs = yaml.safe_load(safety.profile.read_text())["outputs"]
    outputs["stop_service"] = {"service": "stop_the_robot"}
    write_profile(safety.folder, outputs=outputs)
    safety.watchdog = safety.graph.start("safety_watchdog", robot=safety.profile).bring_up()
    safety.beats = safety.graph.collect(Heartbeat, topics.WATCHDOG_HEARTBEAT, 10)
    safety.pulse = Pulse(safety.graph).start()
    safety.beats.wait(since=10)
    safety.pulse.stop()
    safety.beats.wait(lambda beat: beat.latched, what="the latch")

    called_s = []

    def on_stop(_request, response):
        called_s.append(time.monotonic())
        return response

    safety.graph.node.create_service(Trigger, "stop_the_robot", on_stop)
    safety.graph.wait_for(lambda: called_s, "the call of a service that came up after the stop")
    safety.beats.wait(since=safety.beats.mark() + 25)
    assert len(called_s) == 1
    safety.pulse.start()
    release(safety)
    safety.pulse.stop()
    safety.graph.wait_for(lambda: len(called_s) == 2, "the call of the second stop")


def test_release_needs_a_monitor_that_latched_and_was_reset(guarded):
    beats, pulse = guarded.beats, guarded.pulse
    pulse.stop()
    beats.wait(lambda beat: beat.latched, what="the latch")
    pulse.start()
    beats.wait(since=beats.mark() + 25)
    assert beats.messages[-1].latched, "a monitor that merely came back released the stop"
    pulse.latched = True
    beats.wait(since=beats.mark() + 10)
    assert beats.messages[-1].latched
    pulse.latched = False
    beats.wait(lambda beat: not beat.latched, what="the release", since=beats.mark())
    before = guarded.robot.final.mark()
    beats.wait(since=beats.mark() + 10)
    assert guarded.robot.final.mark() - before <= 1


def test_motion_while_stopped_is_answered_and_told(guarded):
    robot = guarded.robot
    guarded.pulse.stop()
    robot.final.wait(what="a stop")
    publisher = guarded.graph.node.create_publisher(Twist, "cmd_vel", 1)
    guarded.graph.wait_matched(publisher, 3)
    twist = Twist()
    twist.linear.x = 0.5

    def told() -> bool:
        publisher.publish(twist)
        return "motion was commanded while a stop is latched" in guarded.watchdog.output()

    guarded.graph.wait_for(told, "the watchdog tells of it")
    robot.final.wait(lambda twist: not moves(twist), what="a stop", since=robot.final.mark())


def test_in_shadow_silence_is_told_but_nothing_is_published(guarded):
    status = guarded.graph.node.create_publisher(
        SafetyStatus, topics.SAFETY_STATUS, topics.latched()
    )
    status.publish(SafetyStatus(mode=SafetyStatus.SHADOW))
    guarded.graph.wait_matched(status, 2)
    guarded.robot.statuses.wait(lambda status: status.mode == SafetyStatus.SHADOW)
    guarded.beats.wait(since=guarded.beats.mark() + 10)
    guarded.pulse.stop()
    guarded.beats.wait(lambda beat: beat.latched, what="a latched heartbeat")
    guarded.beats.wait(since=guarded.beats.mark() + 25)
    assert guarded.robot.final.messages == []


@pytest.mark.parametrize("how", ["SIGTERM", "shutdown"])
def test_it_leaves_with_a_second_of_stops(guarded, how):
    robot, watchdog = guarded.robot, guarded.watchdog
    if how == "SIGTERM":
        watchdog.send(15)
        assert watchdog.wait_exit() == 0
    else:
        assert watchdog.change("shutdown")
        assert watchdog.state() == State.PRIMARY_STATE_FINALIZED
    robot.final.wait(what="stops", since=40)
    stops = robot.final.entries
    assert not any(moves(twist) for _, twist in stops)
    assert stops[-1][0] - stops[0][0] > 0.9


@pytest.fixture
def listener(graph):
    """Heartbeats on the test's own node, after one was heard: `listen` gets the test's times."""
    node = SimpleNamespace(
        publisher=graph.node.create_publisher, subscription=graph.node.create_subscription
    )
    listener = Heartbeats(node, "own", "other", timeout_s=0.1)
    sender = graph.node.create_publisher(Heartbeat, "other", 1)
    graph.wait_matched(sender)
    sender.publish(Heartbeat())
    graph.wait_for(lambda: listener.heard_s is not None, "a heartbeat")
    listener.listen(listener.heard_s)
    return listener


def test_who_ticks_slowly_still_notices_that_the_other_is_dead(listener):
    heard_s = listener.heard_s
    for tick in range(1, 5):
        listener.listen(heard_s + 0.06 * tick)
    assert listener.is_silent(heard_s + 0.06 * 4)


def test_after_a_pause_of_its_own_the_other_gets_half_the_timeout(listener):
    resumed_s = listener.heard_s + 3.0
    listener.listen(resumed_s)
    assert not listener.is_silent(resumed_s + 0.04)
    assert listener.is_silent(resumed_s + 0.06)


def test_deactivated_it_is_silent_and_a_bad_profile_is_refused(safety):
    watchdog = safety.graph.start("safety_watchdog", robot="nobody")
    assert not watchdog.change("configure")
    assert "robot 'nobody': expected one of" in watchdog.output()
    watchdog.end()
    watchdog = safety.graph.start("safety_watchdog", robot=safety.profile)
    beats = safety.graph.collect(Heartbeat, topics.WATCHDOG_HEARTBEAT, 10)
    watchdog.bring_up()
    beats.wait()
    assert watchdog.change("deactivate")
    assert watchdog.state() == State.PRIMARY_STATE_INACTIVE
    time.sleep(0.5)  # what was under way has arrived
    heard = beats.mark()
    time.sleep(0.5)
    assert beats.mark() == heard
    assert watchdog.change("activate")
    beats.wait(since=beats.mark())
