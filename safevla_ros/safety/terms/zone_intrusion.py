"""zone_intrusion: a robot link enters a forbidden zone. Charged per step.

rho = signed distance [m] of the nearest link hull to the nearest zone, less the threshold. Margins
are cut off at FAR_M: farther away is all the same, and a specification without zones is far from
all of them, whatever is known. A zone whose frame is not the world's cannot be judged: the term is then not
applicable, unless another zone is violated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from safevla_ros.safety.state import WorldState
from safevla_ros.safety.terms.base import Margin, NonNegative, SampledTerm, TermParameters
from safevla_ros.safety.zones import Zone, ZoneShape, split_by_frame

FAR_M = 10.0
"""Largest margin that is told apart [m]."""


class ZoneIntrusionParameters(TermParameters):
    """`clearance_m`: what the gate's look-ahead keeps between the robot and a zone."""

    clearance_m: NonNegative = 0.03


class ZoneIntrusion(SampledTerm[ZoneIntrusionParameters]):
    name = "zone_intrusion"
    unit = "m"
    threshold_range = (0.0, FAR_M)
    Parameters = ZoneIntrusionParameters

    def __init__(
        self, threshold: float, parameters: ZoneIntrusionParameters, zones: Sequence[Zone]
    ) -> None:
        self._shapes = tuple(ZoneShape(zone) for zone in zones)
        self.signals = frozenset({"links"}) if zones else frozenset()
        super().__init__(threshold, parameters, zones)

    def live(self, world: WorldState, start: WorldState | None = None) -> Margin:
        links, hulls = world.links or (), world.hulls
        shapes = [shape for shape in self._shapes if shape.zone.applies(world)]
        here, elsewhere = split_by_frame(shapes, world.frame)
        nearest = Margin(FAR_M)
        for shape in here:
            margins = shape.margins(hulls.starts, hulls.ends, hulls.radii) - self.threshold
            if margins.size and margins.min() < nearest.value:
                link = links[int(margins.argmin())].link
                nearest = Margin(float(margins.min()), f"{link} at {shape.zone.name}")
        if elsewhere and nearest.value >= 0.0:
            names = ", ".join(elsewhere)
            return Margin(math.nan, f"frame of zone {names} cannot be reached from {world.frame}")
        return nearest
