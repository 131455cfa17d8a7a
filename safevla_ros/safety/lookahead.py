"""Looks ahead: would a command violate a term before the robot could stand again?

motion.py predicts where the robot will be, hazards.py how near that is to what it must avoid. A
motion is safe when all margins stay at 0 or above. Where one is below already, motion that does not
lower it is safe too: out of a zone, away from a wall, turning on the spot beside it. An unsafe
command is tried at the smaller RATIOS, and the largest safe one counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from safevla_ros.robot.profile import Profile
from safevla_ros.robot.state import Command
from safevla_ros.safety.hazards import Hazard, ScanHazard, ZoneHazard
from safevla_ros.safety.motion import predict
from safevla_ros.safety.specification import Specification
from safevla_ros.safety.terms.collision import CollisionParameters
from safevla_ros.safety.world import KinematicModel, WorldState

Array = NDArray[np.float64]

RATIOS = (0.75, 0.5, 0.25)
"""Parts of a command that are tried when the whole of it is not safe."""

_DIP = 1e-3
"""How far a negative margin may dip on the way, while it does not end lower: rounding only."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a command is predicted to do.

    `ratio`: the largest part of it that is safe, 0 to 1. `term` and `cause`: what stands against
    the whole of it; empty: nothing. `costs`: what the whole would be charged, for each term that
    could be predicted.
    """

    ratio: float = 1.0
    term: str = ""
    cause: str = ""
    costs: Mapping[str, float] = field(default_factory=dict)


class LookAhead:
    """Forecasts for one robot under one specification."""

    def __init__(
        self, profile: Profile, specification: Specification, kinematics: KinematicModel | None
    ) -> None:
        self._profile = profile
        terms = specification.terms
        self._acting = {name for name, settings in terms.items() if settings.response != "log"}
        self._hazards: list[Hazard] = []
        collision = specification.parameters.get("collision")
        if isinstance(collision, CollisionParameters):
            self._hazards.append(ScanHazard(profile, collision.clearance_m))
        if "zone_intrusion" in terms:
            threshold = terms["zone_intrusion"].threshold
            self._hazards.append(ZoneHazard(profile, specification.zones, threshold, kinematics))

    def forecast(self, world: WorldState, command: Command, rest_s: float) -> Forecast:
        """What `command` will do in the `rest_s` seconds that it lasts, and until the robot
        stands. Where the base is, or a hazard, is not known, nothing is predicted."""
        if world.base is None or world.velocity is None:
            return Forecast()
        costs: dict[str, float] = {}
        against: list[tuple[Hazard, str]] = []
        motion = predict(
            world.base, world.velocity, command, rest_s, self._profile, np.array([1.0])
        )
        for hazard in self._hazards:
            margins = hazard.margins(world, motion, command)
            if margins is None:
                continue
            costs[hazard.term] = float(margins.min() < 0.0)
            if hazard.term in self._acting and not _safe(margins).all():
                against.append((hazard, hazard.cause()))
        if not against:
            return Forecast(costs=costs)
        parts = predict(
            world.base, world.velocity, command, rest_s, self._profile, np.array(RATIOS)
        )
        safe = np.full(len(RATIOS), True)
        for hazard in self._hazards:
            margins = hazard.margins(world, parts, command)
            if margins is not None and hazard.term in self._acting:
                safe &= _safe(margins)
        ratio = RATIOS[int(safe.argmax())] if safe.any() else 0.0
        hazard, cause = against[0]
        return Forecast(ratio, hazard.term, cause, costs)


def _safe(margins: Array) -> NDArray[np.bool_]:
    """Which of the motions with these margins (R, K) are safe: (R,)."""
    now, least, last = margins[:, 0], margins.min(axis=1), margins[:, -1]
    return (least >= 0.0) | ((now < 0.0) & (least >= now - _DIP) & (last >= now - 1e-9))
