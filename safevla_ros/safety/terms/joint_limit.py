"""joint_limit: a joint is measured outside its range by more than the threshold. Per step.

rho = threshold plus the distance to the nearer end of its range [rad or m], of the joint that has
least. The ranges are the profile's.
"""

from __future__ import annotations

from safevla_ros.safety.state import WorldState
from safevla_ros.safety.terms.base import Margin, SampledTerm, TermParameters


class JointLimit(SampledTerm[TermParameters]):
    name = "joint_limit"
    unit = "rad or m"
    signals = frozenset({"joints", "limits"})
    threshold_range = (0.0, 1.0)

    def live(self, world: WorldState, start: WorldState | None = None) -> Margin:
        assert world.joints is not None
        assert world.limits is not None
        left = {
            name: min(
                world.joints[name].position - limits.lower,
                limits.upper - world.joints[name].position,
            )
            for name, limits in world.limits.joints.items()
            if name in world.joints
        }
        if not left:
            return Margin(float("nan"), "joints: none that has limits is measured")
        worst = min(left, key=lambda name: left[name])
        return Margin(
            self.threshold + left[worst], f"{worst} is at {world.joints[worst].position:.3f}"
        )
