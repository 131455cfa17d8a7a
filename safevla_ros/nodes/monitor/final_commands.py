"""The way to the robot: turns commands into the messages that its profile names.

Only the cost monitor, and on its silence the watchdog, make one of these. Publishers exist from
configure on. Nothing here decides anything or waits for anything.

Stopping is a zero twist and a hold of the arm. What is held is the position measured when the stop
began: following the measurement while stopped would let an arm sink under its load. The profile's
stop service is called once as a stop begins.
"""

from __future__ import annotations

from collections.abc import Mapping

from geometry_msgs.msg import Twist, TwistStamped
from std_srvs.srv import SetBool, Trigger

from safevla_ros.nodes import topics
from safevla_ros.nodes.lifecycle import GraphNode
from safevla_ros.nodes.monitor.joint_outputs import make_joint_output
from safevla_ros.robot import messages
from safevla_ros.robot.profile import Profile
from safevla_ros.robot.profile import Trigger as TriggerService
from safevla_ros.robot.state import BaseVelocity, Command, Joint

Joints = Mapping[str, Joint]


class FinalCommandPublisher:
    """Publishes commands and stops on the profile's outputs."""

    def __init__(self, node: GraphNode, profile: Profile) -> None:
        """Raises ConfigurationError for an output that cannot be served here."""
        self._node = node
        self._frame = profile.frames.base
        base = profile.outputs.base
        self._is_stamped = base.type == "geometry_msgs/msg/TwistStamped"
        self._base = node.publisher(
            TwistStamped if self._is_stamped else Twist, base.topic, topics.reliable(depth=1)
        )
        self._joints = [
            make_joint_output(node, output, profile) for output in profile.outputs.joints
        ]
        self._stop_service = profile.outputs.stop_service
        self._stop_client = _client(node, self._stop_service)
        self._stop_called = False

    def publish(self, command: Command, joints: Joints) -> None:
        """Pass a command on: the base's velocity always, joint targets when they change.

        `joints` are the measured ones, {} when unknown.
        """
        self._stop_called = False
        self._publish_velocity(command.velocity)
        for output in self._joints:
            output.send(command.joints, joints)

    def stop(self, joints: Joints) -> None:
        """Stand still, and hold the arm where it is measured first. Repeat it to insist."""
        self._publish_velocity(BaseVelocity())
        for output in self._joints:
            output.hold(joints)
        if not self._stop_called:
            self._stop_called = _call(self._stop_client, self._stop_service)

    def release(self) -> None:
        """A stop is over, whoever commands now: the next one holds the arm where it is then."""
        self._stop_called = False
        for output in self._joints:
            output.release()

    def _publish_velocity(self, velocity: BaseVelocity) -> None:
        if self._is_stamped:
            message = TwistStamped()
            message.header.stamp = self._node.get_clock().now().to_msg()
            message.header.frame_id = self._frame
            messages.fill_twist(message.twist, velocity)
        else:
            message = Twist()
            messages.fill_twist(message, velocity)
        self._base.publish(message)


def _client(node, service: TriggerService | None):
    if service is None:
        return None
    kind = Trigger if service.type.endswith("Trigger") else SetBool
    return node.client(kind, service.service)


def _call(client, service: TriggerService | None) -> bool:
    """Ask and do not wait; a service that is not there must not hold up a stop. Whether it was."""
    if client is None or not client.service_is_ready():
        return False
    is_trigger = service.type.endswith("Trigger")
    client.call_async(Trigger.Request() if is_trigger else SetBool.Request(data=True))
    return True
