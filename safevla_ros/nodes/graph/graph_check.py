"""Whether a live graph has what a robot profile says: `safevla up --robot R --check`.

Nothing is commanded and no service is called. Every entry of the profile gets a finding:

| verdict | meaning |
|---|---|
| ok | it is there, and messages arrive |
| missing | nobody publishes the topic, listens to it, or offers the service |
| wrong type | it is there with another type |
| incompatible qos | the publisher offers less than the subscription needs |
| stale | it is there, but no message came within `max_age_s`, or stamps are older than that |
| intruder | somebody else publishes final commands |
| unknown | it cannot be told, and the text says why |
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo

from safevla_ros.nodes import topics
from safevla_ros.nodes.lifecycle import ConfigurationError
from safevla_ros.nodes.message_types import message_type
from safevla_ros.robot.messages import stamp_ns
from safevla_ros.robot.profile import Profile, ProfileError, urdf_path
from safevla_ros.robot.state import NANOSECONDS

Verdict = Literal["ok", "missing", "wrong type", "incompatible qos", "stale", "intruder", "unknown"]

OURS = frozenset({"cost_monitor", "safety_watchdog"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One entry of the profile. `required`: the graph cannot do without it."""

    key: str
    name: str
    verdict: Verdict
    text: str
    required: bool = True

    @property
    def is_fault(self) -> bool:
        """Whether it must be put right. What is optional may be absent or silent, not wrong."""
        if self.verdict == "ok":
            return False
        return self.required or self.verdict not in ("missing", "stale", "unknown")


@dataclass(frozen=True, slots=True)
class Expected:
    """A topic that the graph reads."""

    key: str
    topic: str
    type: str
    max_age_s: float
    required: bool
    reliable: bool


@dataclass(slots=True)
class _Heard:
    subscription: Subscription | None = None
    count: int = 0
    last_s: float = -math.inf
    stamp_age_s: float = math.nan  # infinite: without a stamp
    why_not: str = ""


@dataclass(slots=True)
class GraphCheck:
    """Listens to a live graph for a while, then compares it with the profile.

    Make it, spin the node for `listen_s`, ask for `findings`.
    """

    node: Node
    profile: Profile
    _heard: dict[str, _Heard] = field(default_factory=dict)
    _started_s: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        for expected in self._topics_read():
            self._heard[expected.key] = self._listen(expected)

    @property
    def listen_s(self) -> float:
        """Long enough for discovery and for one message of everything that may not be silent."""
        ages = [expected.max_age_s for expected in self._topics_read() if expected.required]
        return 3.0 + min(max(ages, default=1.0), 5.0)

    def findings(self) -> list[Finding]:
        """A finding for each entry, in the profile's order."""
        return [
            self._urdf(),
            *(self._topic_read(expected) for expected in self._topics_read()),
            *self._outputs(),
            Finding(
                "outputs.driver_timeout_s",
                "",
                "ok",
                f"the driver stops the base after {self.profile.outputs.driver_timeout_s:g} s of "
                "silence, says the profile; this cannot be seen from outside: try it",
            ),
        ]

    # What the graph reads.

    def _topics_read(self) -> Iterator[Expected]:
        profile = self.profile
        for name, signal in profile.signals.present().items():
            yield Expected(
                f"signals.{name}",
                signal.topic,
                signal.type,
                signal.max_age_s,
                signal.required,
                signal.reliable,
            )
        for camera in profile.cameras:
            key = f"cameras.{camera.name}"
            yield Expected(key, camera.topic, camera.type, 1.0, True, camera.reliable)
            if camera.info_topic is not None:
                kind = "sensor_msgs/msg/CameraInfo"
                yield Expected(f"{key}.info", camera.info_topic, kind, 1.0, False, camera.reliable)
        for source in profile.sources:
            # The policy's own topic is published by this graph; a joystick may rest.
            key = f"sources.{source.name}"
            yield Expected(key, source.topic, source.type, source.timeout_s, False, True)
        if profile.estop is not None:
            estop = profile.estop
            kind = "std_msgs/msg/Bool"
            yield Expected("estop", estop.topic, kind, estop.timeout_s, estop.required, True)

    def _qos(self, expected: Expected) -> QoSProfile:
        return topics.sensor(is_reliable=expected.reliable)

    def _listen(self, expected: Expected) -> _Heard:
        heard = _Heard()
        try:
            kind = message_type(expected.type)
        except ConfigurationError as error:
            heard.why_not = str(error)
            return heard

        def on_message(message: Any) -> None:
            heard.count += 1
            heard.last_s = time.monotonic()
            if hasattr(message, "header") and not self.profile.simulated:
                stamp = stamp_ns(message.header.stamp)
                age_ns = self.node.get_clock().now().nanoseconds - stamp
                heard.stamp_age_s = age_ns / NANOSECONDS if stamp else math.inf

        heard.subscription = self.node.create_subscription(
            kind, expected.topic, on_message, self._qos(expected)
        )
        return heard

    def _topic_read(self, expected: Expected) -> Finding:
        def finding(verdict: Verdict, text: str) -> Finding:
            return Finding(expected.key, expected.topic, verdict, text, expected.required)

        publishers = self.node.get_publishers_info_by_topic(expected.topic)
        if not publishers:
            ours = expected.type == "safevla_ros/msg/CandidateCommand"
            also = "; vla_inference will, once the graph is up" if ours else ""
            cannot = f"; {unknown}" if (unknown := self._heard[expected.key].why_not) else ""
            return finding("missing", f"nobody publishes it{also}{cannot}")
        wrong = [p for p in publishers if p.topic_type != expected.type]
        if wrong:
            return finding(
                "wrong type",
                f"{_who(wrong[0])} publishes {wrong[0].topic_type}, expected {expected.type}",
            )
        for publisher in publishers:
            compatibility, reason = qos_check_compatible(publisher.qos_profile, self._qos(expected))
            if compatibility == QoSCompatibility.ERROR:
                words = reason.removeprefix("ERROR: ").strip(" ;")
                return finding("incompatible qos", f"{_who(publisher)}: {words}")
        heard = self._heard[expected.key]
        if heard.why_not:
            return finding("unknown", heard.why_not)
        return self._freshness(expected, heard, publishers)

    def _freshness(
        self, expected: Expected, heard: _Heard, publishers: list[TopicEndpointInfo]
    ) -> Finding:
        def finding(verdict: Verdict, text: str) -> Finding:
            return Finding(expected.key, expected.topic, verdict, text, expected.required)

        who = _who(publishers[0])
        listened_s = time.monotonic() - self._started_s
        silent_s = time.monotonic() - heard.last_s
        if heard.count == 0:
            return finding("stale", f"{who} published nothing within {listened_s:.1f} s")
        if silent_s > expected.max_age_s:
            return finding(
                "stale",
                f"{who} fell silent {silent_s:.1f} s ago, max_age_s is {expected.max_age_s:g}",
            )
        if heard.stamp_age_s == math.inf:
            return finding("stale", f"messages of {who} carry no stamp")
        if heard.stamp_age_s > expected.max_age_s:
            return finding(
                "stale",
                f"stamps of {who} are {heard.stamp_age_s:.1f} s old, max_age_s is "
                f"{expected.max_age_s:g}: late data, or clocks that differ",
            )
        return finding("ok", f"from {who}, {heard.count / listened_s:.0f} Hz")

    # What the graph commands, and the services that go with it.

    def _outputs(self) -> Iterator[Finding]:
        outputs = self.profile.outputs
        yield from self._topic_written("outputs.base", outputs.base.topic, outputs.base.type)
        for index, output in enumerate(outputs.joints):
            key = f"outputs.joints[{index}]"
            if output.topic is not None:
                kind = "trajectory_msgs/msg/JointTrajectory"
                yield from self._topic_written(key, output.topic, kind)
            if output.action is not None:
                kind = "control_msgs/action/FollowJointTrajectory_SendGoal"
                yield self._service(key, f"{output.action}/_action/send_goal", kind, output.action)
        for key, trigger in (
            ("outputs.stop_service", outputs.stop_service),
            ("outputs.mode_service", outputs.mode_service),
        ):
            if trigger is not None:
                yield self._service(key, trigger.service, trigger.type, trigger.service)

    def _topic_written(self, key: str, topic: str, kind: str) -> Iterator[Finding]:
        listeners = self.node.get_subscriptions_info_by_topic(topic)
        wrong = [listener for listener in listeners if listener.topic_type != kind]
        if wrong:
            text = f"{_who(wrong[0])} listens for {wrong[0].topic_type}, expected {kind}"
            yield Finding(key, topic, "wrong type", text)
        elif not listeners:
            yield Finding(key, topic, "missing", "nobody listens to it")
        else:
            yield Finding(key, topic, "ok", f"heard by {_who(listeners[0])}")
        for publisher in self.node.get_publishers_info_by_topic(topic):
            if publisher.node_name not in OURS:
                text = f"{_who(publisher)} publishes final commands; only the monitor may"
                yield Finding(f"{key}.publishers", topic, "intruder", text)

    def _service(self, key: str, service: str, kind: str, shown: str) -> Finding:
        full_name = self.node.resolve_service_name(service)
        kinds = dict(self.node.get_service_names_and_types()).get(full_name)
        if not kinds:
            return Finding(key, shown, "missing", "nobody offers it")
        if kind not in kinds:
            return Finding(key, shown, "wrong type", f"it is {kinds[0]}, expected {kind}")
        return Finding(key, shown, "ok", "offered")

    def _urdf(self) -> Finding:
        try:
            return Finding("urdf", self.profile.urdf, "ok", str(urdf_path(self.profile)))
        except ProfileError as error:
            return Finding("urdf", self.profile.urdf, "missing", str(error))


def _who(endpoint: TopicEndpointInfo) -> str:
    return f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"
