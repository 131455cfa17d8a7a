"""self_collision: two links of the robot come nearer than the threshold [m]. Charged per step.

rho = least distance between the capsule hulls of two links that must not meet (see
`Kinematics.separable`), less the threshold. Hulls enclose the links, so rho is on the safe side.
"""

from __future__ import annotations

import numpy as np

from safevla_ros.robot.geometry import segment_distances
from safevla_ros.safety.state import WorldState
from safevla_ros.safety.terms.base import Margin, SampledTerm, TermParameters

FAR_M = 1.0


class SelfCollision(SampledTerm[TermParameters]):
    name = "self_collision"
    unit = "m"
    signals = frozenset({"links", "link_pairs"})
    threshold_range = (-0.1, 0.5)

    def live(self, world: WorldState, start: WorldState | None = None) -> Margin:
        assert world.links is not None
        assert world.link_pairs is not None
        if not len(world.link_pairs):
            return Margin(FAR_M)
        hulls = world.hulls
        first, second = world.link_pairs.T
        apart = segment_distances(
            hulls.starts[first], hulls.ends[first], hulls.starts[second], hulls.ends[second]
        )
        apart = apart - hulls.radii[first] - hulls.radii[second]
        worst = int(np.argmin(apart))
        one, other = world.links[first[worst]].link, world.links[second[worst]].link
        return Margin(float(apart[worst]) - self.threshold, f"{one} near {other}")
