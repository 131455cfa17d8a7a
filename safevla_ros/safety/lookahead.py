"""Looks ahead: would a command violate a term before the robot could stand again?

motion.py predicts where the robot will be, hazards.py how near that is to what it must avoid. A
motion is safe when all margins stay at 0 or above. A margin that is below already must only not get
lower than it is when the command takes effect: out of a zone, away from a wall, turning on the spot
beside it. That excuses nothing else: each point of the scan and each zone has a margin of its own,
and each must be safe. Of an unsafe
command the largest of PARTS that is safe is searched: a part of a motion goes less far on the same
path. Of a plan of several commands the first one is searched with which, followed by braking, it is
not safe any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from safevla_ros.robot.profile import Profile
from safevla_ros.robot.state import NANOSECONDS, Command
from safevla_ros.safety.hazards import BodyHazard, Hazard, PeopleHazard, ScanHazard, ZoneHazard
from safevla_ros.safety.limits import scaled
from safevla_ros.safety.motion import Leg, Motion, predict
from safevla_ros.safety.specification import Specification
from safevla_ros.safety.state import KinematicModel, WorldState
from safevla_ros.safety.terms.collision import CollisionParameters
from safevla_ros.safety.terms.separation import Separation
from safevla_ros.safety.terms.zone_intrusion import ZoneIntrusionParameters

Array = NDArray[np.float64]

PARTS = (0.5, 0.75)
"""Of a command that is not safe as a whole. Less than half of one is not worth it: the robot would
creep up to what stands in its way."""

_DIP = 1e-3
"""How far a negative margin may dip on the way, while it does not end lower: rounding only."""
_END = 1e-4
"""How much lower a negative margin may end: a base that turns on the spot is measured to drift by
some tenths of a millimetre a second, and must not be held for it."""


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
        zones = specification.parameters.get("zone_intrusion")
        if isinstance(zones, ZoneIntrusionParameters):
            kept_m = terms["zone_intrusion"].threshold + zones.clearance_m
            self._hazards.append(ZoneHazard(profile, specification.zones, kept_m, kinematics))
        separation = specification.make_terms().get("separation")
        if isinstance(separation, Separation):
            self._hazards.append(PeopleHazard(profile, separation))

    def forecast(
        self,
        world: WorldState,
        command: Command,
        rest_s: float,
        now_ns: int,
        kept: Mapping[str, float] | None = None,
    ) -> Forecast:
        """What `command` will do in the `rest_s` seconds that it lasts from now on, and until the
        robot stands. Where the base is, or a hazard, is not known, nothing is predicted. `kept`: so
        much more margin is demanded, by term."""
        if world.base is None or world.velocity is None:
            return Forecast()
        costs: dict[str, float] = {}
        against: Hazard | None = None
        cause, kept = "", kept or {}
        motion = self._predict(world, [(command, rest_s)], now_ns)
        for hazard, margins in self._margins(world, motion):
            predicted = float(margins.min() < 0.0)
            costs[hazard.term] = max(predicted, costs.get(hazard.term, 0.0))
            if against is None and hazard.term in self._acting:
                lowered = _lowered(margins - kept.get(hazard.term, 0.0), motion.acts_from)
                if lowered is not None:
                    against, cause = hazard, hazard.cause(lowered)
        if against is None:
            return Forecast(costs=costs)
        ratio = 0.0
        for part in PARTS:
            legs = [(scaled(command, part, world.joints), rest_s)]
            if not self.is_safe(world, legs, now_ns, kept):
                break
            ratio = part
        return Forecast(ratio, against.term, cause, costs)

    def first_unsafe(
        self, world: WorldState, plan: Sequence[Leg], now_ns: int
    ) -> tuple[int, str, str] | None:
        """The first command of a plan, by index, that violates, or after which the robot cannot
        stand in time any more; with the term and the cause. None: there is none. The command with
        index 0 runs already and is taken to be safe."""
        if world.base is None or world.velocity is None:
            return None
        found: tuple[int, str, str] | None = None
        motion = self._predict(world, plan, now_ns)
        for hazard in self._hazards:
            margins = hazard.margins(world, motion) if hazard.term in self._acting else None
            if margins is None or _lowered(margins, motion.acts_from) is None:
                continue
            for index in range(1, len(plan)):
                is_last = index == len(plan) - 1
                until = (
                    None if is_last else np.searchsorted(motion.times_s, motion.starts_s[index + 1])
                )
                lowered = _lowered(margins[:until], motion.acts_from)
                if lowered is not None:
                    if found is None or index < found[0]:
                        found = index, hazard.term, hazard.cause(lowered)
                    break
        while (
            found is not None and found[0] > 1 and not self.is_safe(world, plan[: found[0]], now_ns)
        ):
            found = found[0] - 1, *found[1:]
        return found

    def is_safe(
        self,
        world: WorldState,
        legs: Sequence[Leg],
        now_ns: int,
        kept: Mapping[str, float] | None = None,
    ) -> bool:
        """Whether these commands are, one after the other and until the robot stands after them.
        Base and velocity are known."""
        motion = self._predict(world, legs, now_ns)
        return all(
            _lowered(margins - (kept or {}).get(hazard.term, 0.0), motion.acts_from) is None
            for hazard, margins in self._margins(world, motion)
            if hazard.term in self._acting
        )

    def _margins(self, world: WorldState, motion: Motion) -> Iterator[tuple[Hazard, Array]]:
        """The hazards that can be judged, with their margins (K, N) over the motion."""
        for hazard in self._hazards:
            margins = hazard.margins(world, motion)
            if margins is not None:
                yield hazard, margins

    def _predict(self, world: WorldState, legs: Sequence[Leg], now_ns: int) -> Motion:
        assert world.base is not None
        assert world.velocity is not None
        age_s = max(0.0, (now_ns - world.stamp_ns) / NANOSECONDS)
        return predict(world.base, world.velocity, legs, self._profile, age_s)


def _lowered(margins: Array, acts_from: int) -> int | None:
    """The column of these margins (K, N) against which a motion is least safe. None: it is safe. A
    margin of NaN is never safe. `acts_from`: the sample at which the command takes effect; what the
    robot does before that, no other command could change."""
    now, least, last = margins[: acts_from + 1].min(axis=0), margins.min(axis=0), margins[-1]
    excused = (now < 0.0) & (least >= now - _DIP) & (last >= now - _END)
    depths = np.where((least >= 0.0) | excused, 0.0, np.nan_to_num(least, nan=-np.inf))
    worst = int(depths.argmin())
    return worst if depths[worst] < 0.0 else None
