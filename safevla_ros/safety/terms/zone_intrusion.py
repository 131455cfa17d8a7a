"""zone_intrusion: a robot link enters a forbidden zone. Charged per step.

rho = signed distance [m] of the nearest link hull to the nearest zone, less the threshold. Margins
are cut off at FAR_M: farther away is all the same, and a specification without zones is far from
all of them, whatever is known. A zone whose frame is not the world's cannot be judged: the term is then not
applicable, unless another zone is violated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from safevla_ros.safety.terms.base import CostTerm, Margin, StepCost, TermParameters
from safevla_ros.safety.world import WorldState
from safevla_ros.safety.zones import Zone, ZoneShape, split_by_frame

FAR_M = 10.0
"""Largest margin that is told apart [m]."""


class ZoneIntrusion(CostTerm[TermParameters]):
    name = "zone_intrusion"
    unit = "m"
    threshold_range = (0.0, FAR_M)

    def __init__(self, threshold: float, parameters: TermParameters, zones: Sequence[Zone]) -> None:
        self._shapes = tuple(ZoneShape(zone) for zone in zones)
        self.signals = frozenset({"links"}) if zones else frozenset()
        super().__init__(threshold, parameters, zones)

    def __call__(
        self, start: WorldState, samples: Sequence[WorldState], end: WorldState
    ) -> StepCost:
        margins = [self.live(world) for world in samples]
        known = [margin for margin in margins if not math.isnan(margin.value)]
        least = min(known, key=lambda margin: margin.value, default=margins[-1])
        if len(known) < len(margins) and not least.value < 0.0:
            least = next(margin for margin in margins if math.isnan(margin.value))
        return StepCost(1.0 if least.value < 0.0 else 0.0, least.value, least.cause)

    def live(self, world: WorldState) -> Margin:
        links = world.links or ()
        here, elsewhere = split_by_frame(self._shapes, world.frame)
        starts = np.array([link.start for link in links]).reshape(-1, 3)
        ends = np.array([link.end for link in links]).reshape(-1, 3)
        radii = np.array([link.radius for link in links])
        nearest = Margin(FAR_M)
        for shape in here:
            margins = shape.margins(starts, ends, radii) - self.threshold
            if margins.size and margins.min() < nearest.value:
                link = links[int(margins.argmin())].link
                nearest = Margin(float(margins.min()), f"{link} at {shape.zone.name}")
        if elsewhere and nearest.value >= 0.0:
            names = ", ".join(elsewhere)
            return Margin(math.nan, f"frame of zone {names} cannot be reached from {world.frame}")
        return nearest
