"""Looks ahead: would a command violate a term before the robot could stand again?

motion.py predicts where the robot will be, hazards.py how near that is to what it must avoid. A
motion is safe when all margins stay at 0 or above. A margin that is below already must only not get
lower: out of a zone, away from a wall, turning on the spot beside it. That excuses nothing else:
each point of the scan and each zone has a margin of its own, and each must be safe. Of an unsafe
command the largest part that is safe is searched, by halving: a part of a motion goes less far on
the same path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from safevla_ros.robot.profile import Profile
from safevla_ros.robot.state import NANOSECONDS, Command
from safevla_ros.safety.hazards import BodyHazard, Hazard, PeopleHazard, ScanHazard, ZoneHazard
from safevla_ros.safety.limits import scaled
from safevla_ros.safety.motion import predict
from safevla_ros.safety.specification import Specification
from safevla_ros.safety.state import KinematicModel, WorldState
from safevla_ros.safety.terms.collision import CollisionParameters
from safevla_ros.safety.terms.separation import Separation

Array = NDArray[np.float64]

HALVINGS = 2
"""How finely the safe part of a command is searched: 2 gives 0, 25, 50 or 75 %."""

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
            self._hazards.append(
                BodyHazard(
                    profile, collision.clearance_m, collision.manipulation_range_m, kinematics
                )
            )
        if "zone_intrusion" in terms:
            threshold = terms["zone_intrusion"].threshold
            self._hazards.append(ZoneHazard(profile, specification.zones, threshold, kinematics))
        separation = specification.make_terms().get("separation")
        if isinstance(separation, Separation):
            self._hazards.append(PeopleHazard(profile, separation))

    def forecast(self, world: WorldState, command: Command, rest_s: float, now_ns: int) -> Forecast:
        """What `command` will do in the `rest_s` seconds that it lasts from now on, and until the
        robot stands. Where the base is, or a hazard, is not known, nothing is predicted."""
        if world.base is None or world.velocity is None:
            return Forecast()
        age_s = max(0.0, (now_ns - world.stamp_ns) / NANOSECONDS)
        costs: dict[str, float] = {}
        against: Hazard | None = None
        cause = ""
        for hazard, margins in self._margins(world, command, rest_s, age_s):
            predicted = float(margins.min() < 0.0)
            costs[hazard.term] = max(predicted, costs.get(hazard.term, 0.0))
            if against is None and hazard.term in self._acting:
                lowered = _lowered(margins)
                if lowered is not None:
                    against, cause = hazard, hazard.cause(lowered)
        if against is None:
            return Forecast(costs=costs)
        ratio, step = 0.0, 1.0
        for _ in range(HALVINGS):
            step *= 0.5
            part = scaled(command, ratio + step, world.joints)
            if all(
                _lowered(margins) is None
                for hazard, margins in self._margins(world, part, rest_s, age_s)
                if hazard.term in self._acting
            ):
                ratio += step
        return Forecast(ratio, against.term, cause, costs)

    def _margins(
        self, world: WorldState, command: Command, rest_s: float, age_s: float
    ) -> Iterator[tuple[Hazard, Array]]:
        """The hazards that can be judged, with their margins (K, N) over the command's motion."""
        assert world.base is not None
        assert world.velocity is not None
        motion = predict(world.base, world.velocity, command, rest_s, self._profile, age_s)
        for hazard in self._hazards:
            margins = hazard.margins(world, motion)
            if margins is not None:
                yield hazard, margins


def _lowered(margins: Array) -> int | None:
    """The column of these margins (K, N) against which a motion is least safe. None: it is safe."""
    now, least, last = margins[0], margins.min(axis=0), margins[-1]
    excused = (now < 0.0) & (least >= now - _DIP) & (last >= now - 1e-9)
    depths = np.where((least >= 0.0) | excused, 0.0, least)
    worst = int(depths.argmin())
    return worst if depths[worst] < 0.0 else None
