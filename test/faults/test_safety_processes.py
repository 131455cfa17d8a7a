"""What happens when a safety process dies, hangs or comes back, while the robot moves.

Times are those at which messages reach the test. They judge what happens, not how fast: the
heartbeat's timeout is TIMEOUT_S here, and these processes may run beside others.

A monitor that is stopped by SIGSTOP in the middle of a write finishes that write on SIGCONT: one
command that was decided before may come out late, and stops follow it. Nothing else may.
"""

from __future__ import annotations

import signal
import threading
import time

import pytest
from robot import TIMEOUT_S, moves, moving_after

from safevla_ros.msg import GatedAction, Heartbeat, SafetyEvent
from safevla_ros.nodes import topics

HELD_S = TIMEOUT_S + 0.5
"""How long a process is stopped: longer than anything that it might have waiting is good for."""
ROUNDS = 5


class Driver:
    """A policy that keeps the robot moving, whatever happens."""

    def __init__(self, robot) -> None:
        self._robot = robot
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        robot.wait_moving()

    def _run(self) -> None:
        step = 0
        while not self._ended.wait(0.1):
            self._robot.propose(yaw=0.4, step=step)
            step += 1

    def stop(self) -> float:
        """Fall silent; the time of it (steady clock [s])."""
        self._ended.set()
        self._thread.join()
        return time.monotonic()


@pytest.fixture
def driven(safety):
    """The safety nodes with a robot that is being moved."""
    safety.bring_up()
    safety.beats = {
        "monitor": safety.graph.collect(Heartbeat, topics.MONITOR_HEARTBEAT, 10),
        "watchdog": safety.graph.collect(Heartbeat, topics.WATCHDOG_HEARTBEAT, 10),
    }
    safety.driver = Driver(safety.robot)
    yield safety
    safety.driver.stop()


def assert_stopped(robot, since_s: float) -> None:
    """A stop comes after a fault, and after it nothing but stops."""
    robot.final.wait(lambda twist: not moves(twist), what="a stop", since=robot.final.mark())
    robot.final.wait_entry(what="more stops", since=robot.final.mark() + 25)
    assert_only_stops_follow(robot, since_s)


def assert_only_stops_follow(robot, since_s: float) -> None:
    """From the first stop later than a time on, nothing moved the robot."""
    stops = [at for at, twist in robot.final.entries if at > since_s and not moves(twist)]
    assert stops, "no stop"
    assert not moving_after(robot.final, stops[0]), "motion after a stop"


def assert_revival_moves_nothing(robot, revived_s: float) -> None:
    """No motion since SIGCONT but of the write that SIGSTOP cut in two; stops since then."""
    robot.final.wait(what="stops", since=robot.final.mark() + 10)
    sent = [moves(twist) for arrived, twist in robot.final.entries if arrived > revived_s]
    assert not any(sent[1:]), "something stale was forwarded"


@pytest.mark.smoke
def test_a_killed_monitor_leaves_a_stopped_robot(driven):
    robot = driven.robot
    driven.monitor.send(signal.SIGKILL)
    killed_s = time.monotonic()
    assert_stopped(robot, killed_s)
    driven.beats["watchdog"].wait(lambda beat: beat.latched, what="a latched watchdog")
    event = robot.events.wait(lambda event: event.kind == SafetyEvent.LATCH, what="a latch")
    assert "no heartbeat of the monitor" in event.detail


def test_a_new_monitor_moves_nothing_before_a_reset(driven):
    """What respawns is not what was trusted: it finds the watchdog's stop and latches too."""
    robot, graph = driven.robot, driven.graph
    driven.monitor.send(signal.SIGKILL)
    killed_s = time.monotonic()
    driven.monitor.wait_exit()
    assert_stopped(robot, killed_s)
    began_s = time.monotonic()
    since = robot.statuses.mark()
    graph.start("cost_monitor", robot=driven.profile).bring_up()
    status = robot.statuses.wait(lambda status: status.latched, what="a latch", since=since)
    assert status.reason == "watchdog_lost"
    assert not moving_after(robot.final, began_s)

    graph.wait_for(lambda: robot.reset().success, "a reset that is accepted")
    driven.beats["watchdog"].wait(
        lambda beat: not beat.latched, what="release", since=driven.beats["watchdog"].mark()
    )
    robot.wait_moving(since=robot.final.mark())


def test_a_stopped_monitor_is_replaced_and_its_revival_moves_nothing(driven):
    robot, monitor = driven.robot, driven.monitor
    monitor.send(signal.SIGSTOP)
    stopped_s = time.monotonic()
    assert_stopped(robot, stopped_s)
    time.sleep(max(0.0, stopped_s + HELD_S - time.monotonic()))
    revived_s = time.monotonic()
    since = robot.statuses.mark()
    monitor.send(signal.SIGCONT)
    status = robot.statuses.wait(lambda status: status.latched, what="a latch", since=since)
    assert status.decision == GatedAction.LATCHED
    assert status.reason == "stalled"
    assert_revival_moves_nothing(robot, revived_s)

    graph = driven.graph
    graph.wait_for(lambda: robot.reset().success, "a reset that is accepted")
    robot.wait_moving(since=robot.final.mark())


def test_a_monitor_stopped_at_any_moment_revives_without_motion(driven):
    """At moments that differ: nothing may have been decided before and sent after."""
    robot, monitor = driven.robot, driven.monitor
    for round_number in range(ROUNDS):
        robot.wait_moving(since=robot.final.mark())
        time.sleep(0.005 * round_number)
        monitor.send(signal.SIGSTOP)
        time.sleep(HELD_S)
        revived_s = time.monotonic()
        since = robot.statuses.mark()
        monitor.send(signal.SIGCONT)
        robot.statuses.wait(lambda status: status.latched, what="a latch", since=since)
        assert_revival_moves_nothing(robot, revived_s)
        driven.graph.wait_for(lambda: robot.reset().success, "a reset that is accepted")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_without_its_watchdog_the_monitor_latches(driven, number):
    robot = driven.robot
    driven.watchdog.send(number)
    lost_s = time.monotonic()
    status = robot.statuses.wait(lambda status: status.latched, what="a latch")
    assert status.reason == "watchdog_lost"
    assert not status.watchdog_alive
    assert_stopped(robot, lost_s)
    driven.graph.wait_for(lambda: "younger" not in robot.reset().message, "the end of the cooldown")
    answer = robot.reset()
    assert not answer.success
    assert answer.message == "the watchdog is silent"


def test_a_revived_watchdog_does_not_release_the_monitor(driven):
    robot, watchdog = driven.robot, driven.watchdog
    watchdog.send(signal.SIGSTOP)
    robot.statuses.wait(lambda status: status.latched, what="a latch")
    time.sleep(TIMEOUT_S)
    revived_s = time.monotonic()
    watchdog.send(signal.SIGCONT)
    robot.statuses.wait(
        lambda status: status.watchdog_alive, what="the watchdog", since=robot.statuses.mark()
    )
    robot.statuses.wait(what="more statuses", since=robot.statuses.mark() + 10)
    assert not moving_after(robot.final, revived_s)
    driven.graph.wait_for(lambda: robot.reset().success, "a reset that is accepted")
    robot.wait_moving(since=robot.final.mark())


def test_a_policy_that_falls_silent_is_a_smooth_halt(driven):
    """Its last command runs to its end; then the velocity falls at the profile's rate."""
    robot = driven.robot
    silent_s = driven.driver.stop()
    status = robot.statuses.wait(
        lambda status: status.reason == "expired", what="the end of the last command"
    )
    assert not status.latched
    robot.final.wait(lambda twist: not moves(twist), what="a stand", since=robot.final.mark())
    robot.final.wait_entry(what="more of it", since=robot.final.mark() + 25)
    assert_only_stops_follow(robot, silent_s)
    speeds = [twist.angular.z for arrived, twist in robot.final.entries if arrived > silent_s]
    falling = [speed for speed in speeds if 0.0 < speed < 0.4]
    assert falling, "the velocity jumped to zero"
    assert falling == sorted(falling, reverse=True)
    driven.driver = Driver(robot)


def test_in_a_shutdown_the_watchdog_leaves_last_with_stops(driven):
    robot = driven.robot
    driven.monitor.send(signal.SIGTERM)
    ended_s = time.monotonic()
    assert driven.monitor.wait_exit() == 0
    driven.watchdog.send(signal.SIGTERM)
    assert driven.watchdog.wait_exit() == 0
    last_s, last = robot.final.entries[-1]
    assert not moves(last)
    assert_only_stops_follow(robot, ended_s)
    assert last_s - ended_s > 0.9


def test_both_told_to_end_at_once_still_leave_a_stopped_robot(driven):
    """As when the process that supervises them is killed."""
    robot = driven.robot
    driven.watchdog.send(signal.SIGTERM)
    driven.monitor.send(signal.SIGTERM)
    assert [driven.monitor.wait_exit(), driven.watchdog.wait_exit()] == [0, 0]
    last_s, last = robot.final.entries[-1]
    assert not moves(last)
    assert not moving_after(robot.final, last_s - 0.4), "the last words were not all stops"
