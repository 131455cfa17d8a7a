"""Where joint targets go: a JointTrajectory topic, or a FollowJointTrajectory action server.

Both are sent only when targets change. A trajectory has one point: the joint's own controller makes
the way there. It may take as long as the joint's speed limit asks for. Controllers want all of their
joints in it, so those that are not commanded are sent to where they are measured.

Except the gripper: to send it to where it is measured would be to let go of what it carries. It
keeps its target, or is left out.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

from action_msgs.srv import CancelGoal
from builtin_interfaces.msg import Duration
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from safevla_ros.nodes import topics
from safevla_ros.nodes.lifecycle import ConfigurationError, GraphNode
from safevla_ros.robot.profile import JointOutput, Profile
from safevla_ros.robot.state import NANOSECONDS, Joint

Joints = Mapping[str, Joint]

SHORTEST_S = 0.1
"""Least time to reach a target. Also that of a hold, so that no controller jerks."""
REPEAT_S = 0.2
"""A hold is repeated this often. A stop must not depend on one message."""
GOAL_PERIOD_S = 0.2
"""Least time between two goals; action servers such as Stretch's reject what comes sooner."""

SLACK = 0.1
"""How far outside its range, as a part of it, a joint may be measured and be believed."""


class Output(Protocol):
    """One of the profile's joint outputs."""

    def send(self, targets: Mapping[str, float], joints: Joints) -> None:
        """Move this output's joints among `targets`; `joints` are the measured ones."""

    def hold(self, joints: Joints) -> None:
        """Stay where the joints were measured when the hold began."""

    def release(self) -> None:
        """The hold is over; the next one begins where the joints are measured then."""


def make_joint_output(node: GraphNode, output: JointOutput, profile: Profile) -> Output:
    """The adapter for one output of the profile. Raises ConfigurationError."""
    if output.topic is not None:
        return TrajectoryTopic(node, output, profile)
    try:
        from control_msgs.action import FollowJointTrajectory
    except ImportError as error:
        raise ConfigurationError(
            f"outputs.joints: action {output.action} needs the ROS package control_msgs, which is "
            "not installed"
        ) from error
    return TrajectoryAction(node, output, profile, FollowJointTrajectory)


class _Trajectories:
    """What both kinds have in common: which targets are in force, and their trajectory."""

    def __init__(self, output: JointOutput, profile: Profile) -> None:
        self._names = output.joints
        self._limits = profile.limits.joints
        self._gripper = profile.roles.gripper
        self._targets: dict[str, float] = {}
        self._held: dict[str, float] = {}

    def release(self) -> None:
        """See Output."""
        self._held = {}

    def _changed(self, targets: Mapping[str, float]) -> bool:
        """Take over targets of this output's joints; whether any is new."""
        merged = self._targets | {name: targets[name] for name in self._names if name in targets}
        changed = merged != self._targets
        self._targets = merged
        self._held = {}
        return changed

    def _hold_targets(self, joints: Joints) -> dict[str, float]:
        """What to hold: positions as measured at the first call after a motion. {}: not known."""
        if not self._held:
            grip = {name: at for name, at in self._targets.items() if name == self._gripper}
            measured = self._measured(joints)
            self._held = grip | measured if measured else {}
            self._targets = grip
        return self._held

    def _trajectory(self, joints: Joints) -> JointTrajectory:
        """To the targets, with the other joints where they are. The stamp stays zero: at once."""
        measured = self._measured(joints)
        targets = measured | self._targets
        ways_s = [
            abs(targets[name] - at) / self._limits[name].velocity for name, at in measured.items()
        ]
        return _one_point(targets, max([SHORTEST_S, *ways_s]))

    def _measured(self, joints: Joints) -> dict[str, float]:
        """Where this output's joints are, without the gripper. A reading far outside a joint's
        range is a fault of its sensor: nothing may be sent there."""
        measured = {}
        for name in self._names:
            if name in joints and name != self._gripper:
                limits, at = self._limits[name], joints[name].position
                slack = SLACK * (limits.upper - limits.lower)
                if limits.lower - slack <= at <= limits.upper + slack:
                    measured[name] = at
        return measured


def _one_point(targets: Mapping[str, float], duration_s: float) -> JointTrajectory:
    seconds, nanoseconds = divmod(int(duration_s * NANOSECONDS), NANOSECONDS)
    point = JointTrajectoryPoint(
        positions=[float(target) for target in targets.values()],
        time_from_start=Duration(sec=seconds, nanosec=nanoseconds),
    )
    return JointTrajectory(joint_names=list(targets), points=[point])


class TrajectoryTopic(_Trajectories):
    """A controller that takes JointTrajectory messages."""

    def __init__(self, node: GraphNode, output: JointOutput, profile: Profile) -> None:
        super().__init__(output, profile)
        self._publisher = node.publisher(JointTrajectory, str(output.topic), topics.reliable())
        self._repeated_s = 0.0

    def send(self, targets: Mapping[str, float], joints: Joints) -> None:
        """See Output."""
        if self._changed(targets):
            self._publisher.publish(self._trajectory(joints))

    def hold(self, joints: Joints) -> None:
        """See Output."""
        now_s = time.monotonic()
        begins = not self._held
        targets = self._hold_targets(joints)
        if targets and (begins or now_s - self._repeated_s >= REPEAT_S):
            self._repeated_s = now_s
            self._publisher.publish(_one_point(targets, SHORTEST_S))


class TrajectoryAction(_Trajectories):
    """A FollowJointTrajectory action server. A new goal replaces the running one.

    To hold is to cancel all goals of the server, whoever sent them: the watchdog must stop what the
    monitor began. A controller whose goal is cancelled holds its position.
    """

    def __init__(
        self,
        node: GraphNode,
        output: JointOutput,
        profile: Profile,
        action_type: Any,
    ) -> None:
        super().__init__(output, profile)
        self._logger = node.get_logger()
        self._action = str(output.action)
        self._action_type = action_type
        self._goals = node.action_client(action_type, self._action)
        self._cancel = node.client(CancelGoal, f"{self._action}/_action/cancel_goal")
        self._is_new = False
        self._is_holding = False
        self._sent_s = self._cancelled_s = 0.0

    def send(self, targets: Mapping[str, float], joints: Joints) -> None:
        """See Output. Called at every tick, so a target that came too soon goes out later."""
        self._is_holding = False
        self._is_new = self._changed(targets) or self._is_new
        now_s = time.monotonic()
        if self._is_new and now_s - self._sent_s >= GOAL_PERIOD_S:
            self._is_new = False
            self._sent_s = now_s
            goal = self._action_type.Goal(trajectory=self._trajectory(joints))
            self._goals.send_goal_async(goal).add_done_callback(self._on_answer)

    def hold(self, joints: Joints) -> None:
        """See Output."""
        now_s = time.monotonic()
        if not self._is_holding or now_s - self._cancelled_s >= REPEAT_S:
            self._is_holding = True
            self._is_new = False
            self._cancelled_s = now_s
            self._hold_targets(joints)
            if self._cancel.service_is_ready():
                self._cancel.call_async(CancelGoal.Request())  # no id and no time: all goals

    def release(self) -> None:
        """See Output."""
        super().release()
        self._is_holding = False

    def _on_answer(self, answer: Any) -> None:
        goal = answer.result()
        if goal.accepted and self._is_holding:
            goal.cancel_goal_async()  # it was under way when the stop came
        elif not goal.accepted and not self._is_holding:
            self._is_new = True
            self._logger.warning(
                f"{self._action} rejected a goal, it is sent again", throttle_duration_sec=1.0
            )
