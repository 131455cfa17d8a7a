"""How the robot is brought to a stand, and kept there.

A halt lowers the velocity last sent to 0 at the profile's rates, all components by one ratio, and
begins no faster than the base is measured to move: right after a start, to ramp down from what was
sent would be to speed up first. A stop sends 0 at once. To halt the arm is to hold it where it is measured: joints that were sent a
target keep their measured position. After a halt a joint that is as good as there keeps its target
instead, or a joint that sags a little would sink a little with every halt. The gripper always keeps
its target: to hold its measured position would be to let go of what it carries. A joint that is
measured far from where it is held was moved by somebody else, by hand while its drive was off; it
is held where it is now, or it would jump back when the drive comes on.
"""

from __future__ import annotations

from collections.abc import Mapping

from safevla_ros.robot.profile import Profile
from safevla_ros.robot.state import NANOSECONDS, BaseVelocity, Command, Joint

ARRIVED = 0.01
"""A joint this near to its target [rad or m] has arrived."""
MOVED = 0.05
"""A joint this far from where it is held [rad or m] was moved by somebody else."""


class Brake:
    """Remembers what was sent last, and makes the commands that end it."""

    def __init__(self, profile: Profile) -> None:
        self._rates = profile.limits.base
        self._gripper = profile.roles.gripper
        self._velocity = BaseVelocity()
        self._sent_ns: int | None = None
        self._targets: dict[str, float] = {}
        self._readings: Mapping[str, Joint] = {}
        self._measured: BaseVelocity | None = None
        self._held: dict[str, float] | None = None
        self._held_hard = False

    def read(self, joints: Mapping[str, Joint] | None, velocity: BaseVelocity | None) -> None:
        """Joints and base as they are now. None: of the joints the last ones known go on to count,
        of the base what was sent."""
        if joints is not None:
            self._readings = joints
        self._measured = velocity

    def moved(self, command: Command, now_ns: int) -> None:
        """This command is being sent."""
        self._velocity, self._sent_ns = command.velocity, now_ns
        self._targets.update(command.joints)
        self._held = None

    def release(self) -> None:
        """Forget where joints are held: what is measured from now on counts."""
        self._held, self._readings = None, {}

    def halt(self, now_ns: int) -> Command:
        """What to send now to come to a stand smoothly."""
        elapsed_s = 0.0 if self._sent_ns is None else (now_ns - self._sent_ns) / NANOSECONDS
        velocity, rates = self._velocity, self._rates
        remaining_s = max(
            abs(velocity.x) / rates.linear_m_s2,
            abs(velocity.y) / rates.linear_m_s2,
            abs(velocity.yaw) / rates.yaw_rad_s2,
        )
        left = 1.0 - elapsed_s / remaining_s if remaining_s > elapsed_s >= 0.0 else 0.0
        if self._measured is not None:
            left = min(left, _share(self._measured, velocity))
        return self._stand(
            BaseVelocity(velocity.x * left, velocity.y * left, velocity.yaw * left),
            now_ns,
            hard=False,
        )

    def stop(self, now_ns: int) -> Command:
        """What to send now to stand at once."""
        return self._stand(BaseVelocity(), now_ns, hard=True)

    def _stand(self, velocity: BaseVelocity, now_ns: int, hard: bool) -> Command:
        self._velocity, self._sent_ns = velocity, now_ns
        if self._held is None or (hard and not self._held_hard):
            self._held, self._held_hard = self._holding(hard), hard
        for name, position in self._held.items():
            if name in self._readings and abs(self._readings[name].position - position) > MOVED:
                self._held[name] = self._readings[name].position
        self._targets.update(self._held)
        return Command(velocity, dict(self._held))

    def _holding(self, hard: bool) -> dict[str, float]:
        """Where joints that were sent a target are measured."""
        return {
            name: self._readings[name].position
            for name, target in self._targets.items()
            if name in self._readings
            and name != self._gripper
            and (hard or abs(self._readings[name].position - target) > ARRIVED)
        }


def _share(measured: BaseVelocity, sent: BaseVelocity) -> float:
    """The largest share of `sent`, at most 1, of which no component is faster than `measured`."""
    pairs = ((measured.x, sent.x), (measured.y, sent.y), (measured.yaw, sent.yaw))
    return min((min(1.0, max(0.0, now / then)) for now, then in pairs if then != 0.0), default=1.0)
