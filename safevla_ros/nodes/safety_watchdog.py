"""The safety watchdog: stops the robot when the cost monitor falls silent.

A process of its own that knows as little as possible. Its publishers exist from configure on, since
a publisher that is made in an emergency is discovered too late. It is armed by the monitor's first
heartbeat: before that nothing of ours has moved the robot.

Silence for longer than the profile's `heartbeat_timeout_s` latches a stop: zero velocity and a hold
of the arm at 50 Hz, until the monitor beats again, has latched itself too, and was reset. A monitor
that comes back after a SIGSTOP or is started anew therefore moves nothing until a person says so.
The watchdog's heartbeat tells the monitor that it is guarded, and whether a stop is latched here.

In mode shadow somebody else drives the robot; then silence latches and is reported, but nothing is
published.

While it stops the robot it listens on the final topics: motion that arrives there is answered with
a stop at once, and reported. Whichever way it ends, an armed watchdog publishes stops for a second.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import Enum, auto
from typing import Any

from geometry_msgs.msg import Twist, TwistStamped

from safevla_ros.msg import SafetyEvent, SafetyStatus
from safevla_ros.nodes import topics
from safevla_ros.nodes.lifecycle import Diagnostics, GraphNode, describe, spin
from safevla_ros.nodes.message_types import message_type
from safevla_ros.nodes.monitor.final_commands import FinalCommandPublisher
from safevla_ros.nodes.monitor.heartbeat import PERIOD_S, Heartbeats
from safevla_ros.nodes.monitor.priority import raise_priority
from safevla_ros.nodes.monitor.readers import is_motion
from safevla_ros.robot.messages import MessageError, joints_from
from safevla_ros.robot.state import Joint

LAST_STOPS_S = 1.0
"""How long stops are published on the way out."""


class Guard(Enum):
    """What the watchdog makes of the monitor."""

    WAITING = auto()
    """It was never heard: nothing to guard yet."""
    GUARDING = auto()
    STOPPING = auto()
    """It fell silent, and has not latched itself since."""
    AWAITING_RESET = auto()
    """It is back and latched."""


class SafetyWatchdog(GraphNode):
    """See the module's docstring."""

    def __init__(self, scheduling: str) -> None:
        super().__init__("safety_watchdog")
        self._scheduling = scheduling
        self._final: FinalCommandPublisher | None = None

    def setup(self) -> None:
        """Make publishers and listeners."""
        profile = self.profile
        self._guard = Guard.WAITING
        self._joints: dict[str, Joint] = {}
        self._is_shadow = False
        self._malformed = 0
        self._stops = 0
        final = FinalCommandPublisher(self, profile)
        self._events = self.publisher(SafetyEvent, topics.SAFETY_EVENT, topics.reliable())
        self._heartbeats = Heartbeats(
            self, topics.WATCHDOG_HEARTBEAT, topics.MONITOR_HEARTBEAT, profile.heartbeat_timeout_s
        )
        signal = profile.signals.joint_states
        self.subscription(
            message_type(signal.type),
            signal.topic,
            self._on_joints,
            topics.sensor(is_reliable=signal.reliable, depth=1),
        )
        self.subscription(SafetyStatus, topics.SAFETY_STATUS, self._on_status, topics.latched())
        base = profile.outputs.base
        is_stamped = base.type == "geometry_msgs/msg/TwistStamped"
        self.subscription(
            TwistStamped if is_stamped else Twist,
            base.topic,
            self._on_final_command,
            topics.sensor(is_reliable=False, depth=1),
        )
        self._final = final

    def start(self) -> None:
        """Guard from now on."""
        self._final.release()
        self._timer = self.timer(PERIOD_S, self._tick)

    def stop(self) -> None:
        """Guard no longer. The monitor hears it, and latches."""
        self.destroy_timer(self._timer)

    def teardown(self) -> None:
        """Publishers go with the node's entities."""
        self._final = None

    def last_action(self) -> None:
        """Leave last: a second of stops, for whoever commanded until now."""
        if self._final is None or self._guard is Guard.WAITING or self._is_shadow:
            return
        end = time.monotonic() + LAST_STOPS_S
        while time.monotonic() < end:
            self._final.stop(self._joints)
            time.sleep(PERIOD_S)

    def on_callback_error(self, where: str, error: Exception) -> bool:
        """Stop the robot, and go on as long as the tick itself works."""
        self.get_logger().error(f"{where}: {describe(error)}")
        if "timer" in where:
            return False  # without its tick it guards nothing; the monitor hears that
        self._latch(f"{where} failed")
        return True

    def _tick(self) -> None:
        now_s = time.monotonic()
        self._judge(now_s)
        self._heartbeats.beat(latched=self._is_latched)
        if self._is_latched:
            self._stop_robot()

    def _judge(self, now_s: float) -> None:
        """Follow the monitor's heartbeat."""
        beats = self._heartbeats
        beats.listen(now_s)
        if self._guard is Guard.WAITING:
            if not beats.is_silent(now_s):
                self._guard = Guard.GUARDING
        elif beats.is_silent(now_s):
            self._latch(f"no heartbeat of the monitor for {1e3 * beats.silent_for(now_s):.0f} ms")
        elif self._guard is Guard.STOPPING and beats.other_latched:
            self._guard = Guard.AWAITING_RESET
        elif self._guard is Guard.AWAITING_RESET and not beats.other_latched:
            self._guard = Guard.GUARDING
            if self._final is not None:
                self._final.release()
            self._publish_event(SafetyEvent.RESET, "the monitor is back and was reset")

    @property
    def _is_latched(self) -> bool:
        return self._guard in (Guard.STOPPING, Guard.AWAITING_RESET)

    def _latch(self, why: str) -> None:
        if not self._is_latched:
            self._publish_event(SafetyEvent.LATCH, why)
        self._guard = Guard.STOPPING

    def _stop_robot(self) -> None:
        if self._final is not None and self.active and not self._is_shadow:
            self._final.stop(self._joints)
            self._stops += 1

    def _on_joints(self, message: Any) -> None:
        try:
            self._joints |= joints_from(message)
        except MessageError as error:
            self._malformed += 1
            topic = self.profile.signals.joint_states.topic
            self.get_logger().warning(f"{topic}: {error}", throttle_duration_sec=1.0)

    def _on_status(self, message: SafetyStatus) -> None:
        self._is_shadow = message.mode == SafetyStatus.SHADOW

    def _on_final_command(self, message: Twist | TwistStamped) -> None:
        """Motion while a stop is latched comes from nobody who may."""
        if not self._is_latched or self._is_shadow:
            return
        twist = message.twist if isinstance(message, TwistStamped) else message
        if is_motion(twist):
            self._stop_robot()
            self.get_logger().error(
                f"{self.profile.outputs.base.topic}: motion was commanded while a stop is latched",
                throttle_duration_sec=1.0,
            )

    def _publish_event(self, kind: int, detail: str) -> None:
        self.get_logger().warning(detail)
        event = SafetyEvent(kind=kind, cause="safety_watchdog", detail=detail)
        event.header.stamp = self.get_clock().now().to_msg()
        event.cost = event.margin = float("nan")
        self._events.publish(event)

    def report(self) -> None:
        """Diagnostics."""
        if self._final is None:
            return
        level = Diagnostics.ERROR if self._is_latched else Diagnostics.OK
        self.diagnostics.set_status(level, self._guard.name.lower().replace("_", " "))
        self.diagnostics.values = {
            "scheduling": self._scheduling,
            "monitor_silent_ms": round(1e3 * self._heartbeats.silent_for(time.monotonic()), 1),
            "stops_published": self._stops,
            "malformed_messages": self._malformed,
        }


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the executable."""
    scheduling = raise_priority()
    return spin(lambda: SafetyWatchdog(scheduling), args)
