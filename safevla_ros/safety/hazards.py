"""What the look-ahead tests a predicted motion against.

- `ScanHazard`, for collision: the footprint, a disc of the profile's `footprint_radius_m` around
  the base, against the points of scan and occupancy grid.
- `BodyHazard` (body_hazard.py), for collision: the hulls of all links, moved with base and joints,
  against the points of the point cloud and the boxes of known loose objects and people.
- `ZoneHazard`, for zone_intrusion: the hulls of all links against the zones.
- `PeopleHazard`, for separation: the speed at which the footprint approaches people.

The instructed object may be touched, and so may what is within its `manipulation_range_m` (its
support), but for the footprint. Not looked at: the boxes of furniture, which hold much free space
(scan and cloud see what is there); obstacles that move by themselves, other than by being seen anew;
dropping things. Nor is a hazard foreseen whose signal is missing: what the robot must not move
without is `required` in its profile.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from safevla_ros.robot.geometry import inverse, transform_points
from safevla_ros.robot.profile import Profile
from safevla_ros.robot.state import SceneObject
from safevla_ros.safety.prediction import Prediction
from safevla_ros.safety.state import WorldState
from safevla_ros.safety.terms.collision import instructed
from safevla_ros.safety.terms.separation import Separation
from safevla_ros.safety.zones import Zone, ZoneShape, split_by_frame

Array = NDArray[np.float64]

EXACT = 0.1
"""Margins below this are exact, in the term's unit."""
NOTHING: Array = np.full((1, 1), math.inf)
"""Margins where there is nothing to avoid, whatever the motion."""
_TARGET_GAP_M = 0.05
"""Scan points this near to the instructed object's box are taken to be of it."""


class Hazard(Protocol):
    """One thing to test predicted motion against, on behalf of a cost term."""

    term: str

    @property
    def clearance(self) -> Array | float:
        """How much of each of the last margins is clearance (N,): what is kept beyond the threshold
        because predictions are not exact."""

    def margins(self, ahead: Prediction) -> Array | None:
        """Margins (K, N) in the term's unit at the motion's samples, to each of N >= 1 things to
        avoid; where they are above EXACT, any number that is too will do. NOTHING: there is nothing
        to avoid. None: a signal is missing."""

    def cause(self, column: int) -> str:
        """What the robot would do to the thing of that column of the last margins."""


class ScanHazard:
    """The footprint against the scan. `clearance_m` must remain between them."""

    term = "collision"

    def __init__(self, profile: Profile, clearance_m: float) -> None:
        self.clearance = clearance_m
        self._radius_m = profile.footprint_radius_m + clearance_m

    def margins(self, ahead: Prediction) -> Array | None:
        world = ahead.world
        if world.obstacles is None:
            return None
        motion = ahead.motion
        within = motion.reach_m + self._radius_m + EXACT
        offsets = world.obstacles[:, :2] - motion.positions[0]
        near = world.obstacles[(offsets**2).sum(axis=1) <= within**2]
        points = _without_instructed(world, near, _TARGET_GAP_M)[:, :2]
        if not len(points):
            return np.full((motion.headings.size, 1), within - motion.reach_m)
        apart = motion.positions[:, None, :] - points
        return np.sqrt((apart**2).sum(axis=-1)) - self._radius_m

    def cause(self, column: int) -> str:
        return "the base would come too near to what the scan sees"


class ZoneHazard:
    """The link hulls against the zones: threshold and clearance must remain between them."""

    term = "zone_intrusion"

    def __init__(self, zones: tuple[Zone, ...], threshold_m: float, clearance_m: float) -> None:
        self._shapes = tuple(ZoneShape(zone) for zone in zones)
        self.clearance = clearance_m
        self._kept_m = threshold_m + clearance_m
        self._judged: list[str] = []

    def margins(self, ahead: Prediction) -> Array | None:
        world = ahead.world
        if world.links is None:
            return None
        shapes = [shape for shape in self._shapes if shape.zone.applies(world)]
        here, _ = split_by_frame(shapes, world.frame)
        self._judged = [shape.zone.name for shape in here]
        if not here or not world.links:
            return NOTHING
        hulls, body = world.hulls, ahead.body
        count, sweep_m = body.samples, body.sweep_m
        least = np.full((count, len(here)), math.inf)
        for column, shape in enumerate(here):
            now = shape.margins(hulls.starts, hulls.ends, hulls.radii) - self._kept_m
            near = np.flatnonzero(now <= sweep_m + EXACT)
            if near.size < now.size:  # of links out of reach a bound will do
                least[:, column] = now[now > sweep_m + EXACT].min() - sweep_m
            if not near.size:
                continue
            flat = [points[:, near].reshape(-1, 3) for points in body.placed]
            margins = shape.margins(flat[0], flat[1], np.tile(hulls.radii[near], count))
            margins = margins.reshape(count, -1).min(axis=1) - self._kept_m
            least[:, column] = np.minimum(least[:, column], margins)
        return least

    def cause(self, column: int) -> str:
        return f"a link would enter zone {self._judged[column]}"


class PeopleHazard:
    """The speed at which the footprint approaches people, against what separation allows. People
    stay where they are seen, but are reckoned to walk up, as the term does."""

    term = "separation"
    clearance = 0.0

    def __init__(self, profile: Profile, term: Separation) -> None:
        self._radius_m = profile.footprint_radius_m
        self._term = term
        self._people: list[str] = []

    def margins(self, ahead: Prediction) -> Array | None:
        world = ahead.world
        if world.objects is None or world.limits is None:
            return None
        people = {
            key: entry
            for key, entry in world.objects.items()
            if entry.class_name in self._term.parameters.people
        }
        self._people = list(people)
        if not people:
            return NOTHING
        motion = ahead.motion
        spans = np.maximum(np.diff(motion.times_s), 1e-9)
        columns = []
        for entry in people.values():
            apart = self._distances(motion.positions, entry)
            speeds = np.append(np.maximum(-np.diff(apart) / spans, 0.0), 0.0)
            allowed = [self._term.allowed_m_s(world, entry, at) for at in apart.tolist()]
            margins = np.array(allowed) - speeds - self._term.threshold
            still = speeds < self._term.parameters.still_m_s
            columns.append(np.where(still, np.maximum(margins, 0.0), margins))
        return np.stack(columns, axis=1)

    def cause(self, column: int) -> str:
        return f"the base would approach {self._people[column]} too fast to stop in time"

    def _distances(self, positions: Array, entry: SceneObject) -> Array:
        """From the footprint at positions (K, 2) to a person's box [m] (K,), at least 0."""
        points = np.column_stack([positions, np.full(len(positions), entry.pose.position[2])])
        local = np.abs(transform_points(inverse(entry.pose), points))
        outside = np.maximum(local - 0.5 * np.asarray(entry.size), 0.0)
        return np.asarray(np.maximum(np.sqrt((outside**2).sum(axis=1)) - self._radius_m, 0.0))


def is_clear_of_instructed(world: WorldState, points: Array, gap_m: float) -> NDArray[np.bool_]:
    """Which points (N, 3) are farther than that from the boxes of all instructed objects."""
    clear = np.ones(len(points), bool)
    for entry in instructed(world):
        local = np.abs(transform_points(inverse(entry.pose), points))
        clear &= (local > 0.5 * np.asarray(entry.size) + gap_m).any(axis=1)
    return clear


def _without_instructed(world: WorldState, points: Array, gap_m: float) -> Array:
    """Points (N, 3) that are not of the instructed object."""
    return points[is_clear_of_instructed(world, points, gap_m)]
