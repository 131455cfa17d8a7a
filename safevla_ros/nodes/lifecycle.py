"""What every node of the graph has in common: lifecycle, parameters, diagnostics, a clean end.

A node derives from GraphNode, makes its publishers, subscriptions and timers in `setup` with the
methods below, and is run by `spin`. What they make is destroyed again on cleanup. A node refuses to
configure by raising ConfigurationError with one sentence for a person.

A callback that raises does not vanish: `on_callback_error` decides whether the node can go on; if
not, the process says why in one sentence, does its `last_action` and exits with 1. SIGINT and
SIGTERM end it the same way with exit code 0. rclpy's own signal handlers would invalidate the
context first, and a safety node could then publish nothing on its way out.

Nodes run in rclpy's EventsExecutor, which needs a third of the CPU time of its other executors for
a node of many subscriptions. A callback that takes message info gets both as one tuple (rclpy 9.1).
"""

from __future__ import annotations

import functools
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.action import ActionClient
from rclpy.client import Client
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.experimental import EventsExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.service import Service
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription
from rclpy.task import Future
from rclpy.timer import Timer

from safevla_ros.robot.profile import Profile, ProfileError, load_profile
from safevla_ros.robot.state import NANOSECONDS

Scalar = TypeVar("Scalar", bool, int, float, str)

_SPIN_S = 0.2
"""Spins are this long, then resumed: the EventsExecutor of the wheels never waits in an endless
spin (its deadline overflows), and signal handlers of Python run between spins at the latest."""

_DELIVERY_S = 0.5
"""How long a node waits on its way out for its last messages to be received."""


class ConfigurationError(ValueError):
    """Why a node cannot run as it is configured: one sentence for a person."""


def wall_now() -> Time:
    """The wall clock's time, for LatencyTrace."""
    seconds, nanoseconds = divmod(time.time_ns(), NANOSECONDS)
    return Time(sec=seconds, nanosec=nanoseconds)


class Diagnostics:
    """The node's own entry on /diagnostics, published once a second."""

    OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR

    def __init__(self) -> None:
        self.level = DiagnosticStatus.OK
        self.message = "unconfigured"
        self.values: dict[str, object] = {}

    def set_status(self, level: bytes, message: str) -> None:
        """Level (OK, WARN or ERROR) and one sentence."""
        self.level, self.message = level, message

    def to_status(self, name: str) -> DiagnosticStatus:
        """The entry as a message."""
        values = [KeyValue(key=key, value=str(value)) for key, value in self.values.items()]
        return DiagnosticStatus(
            level=self.level, name=name, message=self.message, hardware_id="", values=values
        )


class GraphNode(LifecycleNode):
    """A lifecycle node of the graph. Derived classes override setup, start, stop, teardown."""

    profile: Profile
    """The robot's profile, from configure on."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        self.diagnostics = Diagnostics()
        self.active = False
        self._made: list[tuple[Callable[[Any], Any], Any]] = []
        self._life = 0  # how often what was made has been destroyed
        self._last_action_done = False
        self.declare("robot", "", "Robot profile: a name under config/robots, or a path to a file")
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        report = self._reported(self._publish_diagnostics, "timer of diagnostics")
        self.create_timer(1.0, report, clock=self.steady_clock)

    # What derived classes fill in.

    def setup(self) -> None:
        """Make everything from parameters and `self.profile`; raise ConfigurationError to refuse."""

    def start(self) -> None:
        """Become active."""

    def stop(self) -> None:
        """Become inactive."""

    def teardown(self) -> None:
        """Release what `setup` made; entities made by the methods below go by themselves."""

    def last_action(self) -> None:
        """Leave the robot safe. Called once, before the node is torn down for good."""

    def report(self) -> None:
        """Bring `self.diagnostics` up to date. Called once a second, before it is published."""

    def on_callback_error(self, where: str, error: Exception) -> bool:
        """A callback raised. True: the node goes on; False: the process ends with exit code 1."""
        return False

    # What derived classes use.

    def declare(
        self,
        name: str,
        default: Scalar,
        description: str,
        lower: float | None = None,
        upper: float | None = None,
    ) -> Scalar:
        """Declare a described, read-only parameter (unit in its name) and return its value.

        `lower` and `upper` bound a number; an override outside them ends the process at start.
        """
        descriptor = ParameterDescriptor(description=description, read_only=True)
        if lower is not None and upper is not None:
            if isinstance(default, int):
                descriptor.integer_range = [
                    IntegerRange(from_value=int(lower), to_value=int(upper), step=0)
                ]
            else:
                descriptor.floating_point_range = [
                    FloatingPointRange(from_value=float(lower), to_value=float(upper), step=0.0)
                ]
        value: Scalar = self.declare_parameter(name, default, descriptor).value
        return value

    def publisher(
        self, message_type: type, topic: str, qos: QoSProfile | int, *, warn: bool = True
    ) -> Publisher:
        """A publisher whose QoS can be overridden by parameters. It works in every state. `warn`:
        say so when a subscription's QoS does not suit."""
        made = self.create_publisher(
            message_type,
            topic,
            qos,
            event_callbacks=PublisherEventCallbacks(use_default_callbacks=warn),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._made.append((self.destroy_publisher, made))
        return made

    def subscription(
        self,
        message_type: type,
        topic: str,
        callback: Callable[..., None],
        qos: QoSProfile | int,
        *,
        raw: bool = False,
        qos_id: str | None = None,
        warn: bool = True,
    ) -> Subscription:
        """A subscription whose QoS can be overridden by parameters.

        A second one of a topic needs a `qos_id`: without it, it gets the first one's parameters,
        and with them the first one's QoS. `warn`: say so when a publisher's QoS does not suit.
        """
        made = self.create_subscription(
            message_type,
            topic,
            self._guarded(callback, f"callback of topic {topic}"),
            qos,
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=warn),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(entity_id=qos_id),
            raw=raw,
        )
        self._made.append((self.destroy_subscription, made))
        return made

    def timer(
        self, period_s: float, callback: Callable[[], None], *, ros_time: bool = False
    ) -> Timer:
        """A timer on the steady clock, or in ROS time."""
        clock = self.get_clock() if ros_time else self.steady_clock
        made = self.create_timer(
            period_s, self._guarded(callback, f"timer of {period_s} s"), clock=clock
        )
        self._made.append((self.destroy_timer, made))
        return made

    def service(self, service_type: type, name: str, callback: Callable[..., Any]) -> Service:
        """A service. If its callback raises and the node goes on, the answer stays as it was."""

        guarded = self._guarded(callback, f"service {name}")

        @functools.wraps(callback)
        def answer(request: Any, response: Any) -> Any:
            result = guarded(request, response)
            return response if result is None else result

        made = self.create_service(service_type, name, answer)
        self._made.append((self.destroy_service, made))
        return made

    def client(self, service_type: type, name: str) -> Client:
        """A client of a service."""
        made = self.create_client(service_type, name)
        self._made.append((self.destroy_client, made))
        return made

    def action_client(self, action_type: type, name: str) -> ActionClient:
        """A client of an action."""
        made = ActionClient(self, action_type, name)
        self._made.append((ActionClient.destroy, made))
        return made

    def now_ns(self) -> int:
        """ROS time [ns]."""
        now: int = self.get_clock().now().nanoseconds
        return now

    def end_for_good(self) -> None:
        """`last_action`, once, whichever way the node ends; none where there is nothing to act with."""
        if self._made and not self._last_action_done:
            self._last_action_done = True
            self.last_action()
            self._wait_delivered()

    def _wait_delivered(self) -> None:
        """Wait until reliable readers have what was published last: a publisher that goes at once
        may take its last messages along."""
        end = time.monotonic() + _DELIVERY_S
        for _, entity in self._made:
            if isinstance(entity, Publisher):
                entity.wait_for_all_acked(Duration(seconds=max(0.0, end - time.monotonic())))

    # Lifecycle.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        answer = self._transition("configure", self._configure)
        if answer is TransitionCallbackReturn.SUCCESS:
            self.diagnostics.set_status(Diagnostics.OK, "inactive")
        else:
            self._destroy_made()
        return answer

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        answer = self._transition("activate", self.start)
        if answer is TransitionCallbackReturn.SUCCESS:
            self.active = True
            self.diagnostics.set_status(Diagnostics.OK, "active")
        return answer

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.active = False
        self.diagnostics.set_status(Diagnostics.OK, "inactive")
        return self._transition("deactivate", self.stop)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.diagnostics.set_status(Diagnostics.OK, "unconfigured")
        return self._transition("clean up", self._clean)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.diagnostics.set_status(Diagnostics.OK, "finalized")
        return self._transition("shut down", self._finish)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.active = False
        self.diagnostics.set_status(Diagnostics.ERROR, "a transition failed; see the log")
        return self._transition("recover", self._clean)

    def _configure(self) -> None:
        robot = self.get_parameter("robot").value
        if not robot:
            raise ConfigurationError(
                "parameter robot: expected the name of a profile in config/robots, or a path to one"
            )
        try:
            self.profile = load_profile(robot)
        except ProfileError as error:
            raise ConfigurationError(str(error)) from error
        if self.profile.simulated:
            self.set_parameters([Parameter("use_sim_time", value=True)])
        self.setup()

    def _clean(self) -> None:
        self.teardown()
        self._destroy_made()

    def _finish(self) -> None:
        if self.active:
            self.active = False
            self.stop()
        self.end_for_good()
        self._clean()

    def _transition(self, name: str, work: Callable[[], None]) -> TransitionCallbackReturn:
        """Do a transition's work. rclpy would swallow what it raises."""
        try:
            work()
        except ConfigurationError as error:
            self.get_logger().error(f"cannot {name}: {error}")
            self.diagnostics.set_status(Diagnostics.ERROR, str(error))
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            self.get_logger().error(f"cannot {name}: {describe(error)}")
            traceback.print_exc()
            self.diagnostics.set_status(Diagnostics.ERROR, describe(error))
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS

    def _destroy_made(self) -> None:
        self._life += 1
        while self._made:
            destroy, entity = self._made.pop()
            destroy(entity)

    def _guarded(self, callback: Callable[..., Any], where: str) -> Callable[..., Any]:
        """`_reported`, for as long as what it is made for exists: the executor also delivers what it
        had queued for entities that were destroyed since."""
        reported, life = self._reported(callback, where), self._life

        @functools.wraps(callback)
        def guarded(*arguments: Any) -> Any:
            return reported(*arguments) if life == self._life else None

        return guarded

    def _reported(self, callback: Callable[..., Any], where: str) -> Callable[..., Any]:
        """The callback, with `on_callback_error` behind it."""

        @functools.wraps(callback)
        def reported(*arguments: Any) -> Any:
            try:
                return callback(*arguments)
            except Exception as error:
                if not self.on_callback_error(where, error):
                    raise
                return None

        return reported

    def _publish_diagnostics(self) -> None:
        self.report()
        message = DiagnosticArray(
            status=[self.diagnostics.to_status(self.get_fully_qualified_name())]
        )
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics_publisher.publish(message)


def describe(error: BaseException) -> str:
    """An exception as one sentence: what, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


def spin(
    node_class: Callable[[], GraphNode],
    args: Sequence[str] | None = None,
) -> int:
    """Run a node until SIGINT or SIGTERM (0), or until it cannot go on (1). Returns the exit code."""
    is_ended = False

    def end(_number: int, _frame: object) -> None:
        # Nothing but this flag: a lock that the interrupted code holds would never be released.
        nonlocal is_ended
        is_ended = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = node_class()
    except Exception as error:
        print(f"cannot start: {describe(error)}", file=sys.stderr)
        rclpy.try_shutdown()
        return 1
    executor = EventsExecutor()
    executor.add_node(node)
    code = 0
    try:
        never = Future()
        while not is_ended:
            executor.spin_until_future_complete(never, timeout_sec=_SPIN_S)
    except Exception as error:
        node.get_logger().fatal(f"cannot go on: {describe(error)}")
        traceback.print_exc()
        code = 1
    try:
        node.end_for_good()
    except Exception as error:
        node.get_logger().fatal(f"could not end in order: {describe(error)}")
        code = 1
    executor.shutdown(timeout_sec=1.0)
    node.destroy_node()
    rclpy.try_shutdown()
    return code
