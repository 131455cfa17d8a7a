"""speed_limit: base or joint moves faster than the robot may. Charged per step.

rho = threshold less the largest of measured speed over allowed speed; the threshold is such a
ratio, 1.1 say, since measured speeds are noisy. Allowed speeds are the profile's. Joints that do not
report their velocity are not judged.
"""

from __future__ import annotations

import math

from safevla_ros.safety.state import WorldState
from safevla_ros.safety.terms.base import Margin, SampledTerm, TermParameters


class SpeedLimit(SampledTerm[TermParameters]):
    name = "speed_limit"
    unit = "1"
    signals = frozenset({"velocity", "limits"})
    threshold_range = (0.1, 10.0)

    def live(self, world: WorldState, start: WorldState | None = None) -> Margin:
        assert world.velocity is not None
        assert world.limits is not None
        base, velocity = world.limits.base, world.velocity
        ratios = {
            "base": math.hypot(velocity.x, velocity.y) / base.linear_m_s,
            "turn": abs(velocity.yaw) / base.yaw_rad_s,
        }
        for name, joint in (world.joints or {}).items():
            limits = world.limits.joints.get(name)
            if limits is not None and not math.isnan(joint.velocity):
                ratios[name] = abs(joint.velocity) / limits.velocity
        worst = max(ratios, key=lambda name: ratios[name])
        return Margin(
            self.threshold - ratios[worst],
            f"{worst} moves at {100.0 * ratios[worst]:.0f} % of the allowed speed",
        )
