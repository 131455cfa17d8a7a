"""What commands would do in a world, worked out when the first hazard asks, and once for all."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from safevla_ros.robot.profile import Profile
from safevla_ros.robot.state import NANOSECONDS
from safevla_ros.safety.body import BodyMotion
from safevla_ros.safety.motion import Leg, Motion, predict
from safevla_ros.safety.state import KinematicModel, WorldState


class Prediction:
    """These commands, one after the other from `now_ns` on, and then braking to a stand. Base and
    velocity of the world are known. `kinematics` None: joint motion is not foreseen."""

    def __init__(
        self,
        profile: Profile,
        kinematics: KinematicModel | None,
        world: WorldState,
        legs: Sequence[Leg],
        now_ns: int,
    ) -> None:
        self.world = world
        self._profile, self._kinematics = profile, kinematics
        self._legs, self._now_ns = legs, now_ns

    @cached_property
    def motion(self) -> Motion:
        """Where the base goes."""
        world = self.world
        assert world.base is not None
        assert world.velocity is not None
        age_s = max(0.0, (self._now_ns - world.stamp_ns) / NANOSECONDS)
        return predict(world.base, world.velocity, self._legs, self._profile, age_s)

    @cached_property
    def body(self) -> BodyMotion:
        """Where the link hulls go. The world's links are known."""
        return BodyMotion(self._profile, self._kinematics, self.world, self.motion)
