"""Looks ahead: would a command violate a term before the robot could stand again?

motion.py predicts where the robot will be, hazards.py and body_hazard.py how near that is to what it
must avoid. A motion is safe when all margins stay at 0 or above, but for two cases in which one is
below already.

- That margin must only not get lower than it is when the command takes effect: out of a zone, away
  from a wall, turning on the spot beside it. This excuses no other: each point of the scan, each
  object and each zone has a margin of its own.
- Who stands beside a wall drives along it past points that were farther away until then. A robot
  that is within the clearance of something may go on as near as that to the rest, at a flat angle
  and while half of the clearance remains (`_goes_along`). It could not leave most places otherwise.

Of an unsafe command the largest of PARTS that is safe is searched: a part of a motion goes less far
on the same path. Of a plan of several commands the first one is searched with which, followed by
braking, it is not safe any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from safevla_ros.robot.profile import Profile
from safevla_ros.robot.state import Command
from safevla_ros.safety.body_hazard import BodyHazard
from safevla_ros.safety.hazards import Hazard, PeopleHazard, ScanHazard, ZoneHazard
from safevla_ros.safety.limits import scaled
from safevla_ros.safety.motion import Leg, Motion
from safevla_ros.safety.prediction import Prediction
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
_BESIDE_M = 0.01
"""Who has less than this above a clearance counts as within it: a scan is no more exact."""
_DRIFT = 0.05
"""How much lower margins may end along the way, as a part of it: 1 cm on 20 cm, as much as points of
a wall seem to stand out of it."""
_STEEPEST = 0.5
"""How much a margin below 0 may fall along the way, as a part of it: 30 degrees off the wall."""


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
        self._profile, self._kinematics = profile, kinematics
        terms = specification.terms
        self._acting = {name for name, settings in terms.items() if settings.response != "log"}
        self._hazards: list[Hazard] = []
        collision = specification.parameters.get("collision")
        if isinstance(collision, CollisionParameters):
            self._hazards.append(ScanHazard(profile, collision.clearance_m))
            self._hazards.append(BodyHazard(collision.clearance_m, collision.manipulation_range_m))
        zones = specification.parameters.get("zone_intrusion")
        if isinstance(zones, ZoneIntrusionParameters):
            threshold_m = terms["zone_intrusion"].threshold
            self._hazards.append(ZoneHazard(specification.zones, threshold_m, zones.clearance_m))
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
        ahead = self._ahead(world, [(command, rest_s)], now_ns)
        for hazard, margins in self._margins(ahead):
            predicted = float(margins.min() < 0.0)
            costs[hazard.term] = max(predicted, costs.get(hazard.term, 0.0))
            if against is None and hazard.term in self._acting:
                lowered = _lowered(margins, ahead, hazard.clearance, kept.get(hazard.term, 0.0))
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
        ahead = self._ahead(world, plan, now_ns)
        for hazard in self._hazards:
            margins = hazard.margins(ahead) if hazard.term in self._acting else None
            if margins is None or _lowered(margins, ahead, hazard.clearance) is None:
                continue
            motion = ahead.motion
            for index in range(1, len(plan)):
                is_last = index == len(plan) - 1
                until = (
                    None if is_last else np.searchsorted(motion.times_s, motion.starts_s[index + 1])
                )
                lowered = _lowered(margins[:until], ahead, hazard.clearance)
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
        ahead = self._ahead(world, legs, now_ns)
        return all(
            _lowered(margins, ahead, hazard.clearance, (kept or {}).get(hazard.term, 0.0)) is None
            for hazard, margins in self._margins(ahead)
            if hazard.term in self._acting
        )

    def _margins(self, ahead: Prediction) -> Iterator[tuple[Hazard, Array]]:
        """The hazards that can be judged, with their margins (K, N) over the motion."""
        for hazard in self._hazards:
            margins = hazard.margins(ahead)
            if margins is not None:
                yield hazard, margins

    def _ahead(self, world: WorldState, legs: Sequence[Leg], now_ns: int) -> Prediction:
        return Prediction(self._profile, self._kinematics, world, legs, now_ns)


def _lowered(
    margins: Array, ahead: Prediction, clearance: Array | float = 0.0, kept: float = 0.0
) -> int | None:
    """The column of these margins (K, N), of the motion's first K samples, against which it is least
    safe. None: it is safe. A margin of NaN is never safe. `clearance` (N,) is in the margins and
    `kept` is asked for on top. What the robot does before the command takes effect, no other command
    could change."""
    margins = margins - kept
    least = margins.min(axis=0)
    if least.min() >= 0.0:
        return None
    motion = ahead.motion
    now = margins[: motion.acts_from + 1].min(axis=0)
    excused = (now < 0.0) & (least >= now - _DIP) & (margins[-1] >= now - _END)
    depths = np.where((least >= 0.0) | excused, 0.0, np.nan_to_num(least, nan=-np.inf))
    if depths.min() < 0.0:
        spare = np.broadcast_to(np.where(clearance, 0.5 * clearance + kept, 0.0), now.shape)
        depths[_goes_along(margins, now, least, spare, motion)] = 0.0
    worst = int(depths.argmin())
    return worst if depths[worst] < 0.0 else None


def _goes_along(
    margins: Array, now: Array, least: Array, spare: Array, motion: Motion
) -> NDArray[np.bool_]:
    """To which of N things a robot that is within the clearance of one comes about as near as it is
    to that one, at a flat angle, and no nearer than that `spare` (N,) is used up."""
    is_spared = spare > 0.0
    nearest = now[is_spared].min(initial=np.inf)
    if not nearest < _BESIDE_M:
        return np.zeros(now.shape, bool)
    ways = motion.ways_m[: len(margins)]
    allowed = min(nearest, 0.0) - _END - _DRIFT * ways[-1]
    falls = margins[:-1] - margins[1:]
    steep = falls > _STEEPEST * np.diff(ways)[:, None] + _END
    is_steep = (steep & (margins[1:] < 0.0))[motion.acts_from :].any(axis=0)
    return is_spared & (least >= np.maximum(allowed, -spare)) & ~is_steep
