"""Driving with a handful of discrete motions: which way, and which motion next."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from shapely.geometry import Point, Polygon

from safevla_ros.simulation.grid import Grid, Routes
from safevla_ros.simulation.solids import wrap_angle

LOOK_AHEAD_M = 0.9
ARRIVED_M = 0.11
MARK_RADIUS_M = 0.22
"""What stopped the robot is taken to be this large, just ahead of it."""
MARK_AHEAD_M = 0.42
ESCAPE_M = 0.6
"""So near to the start, cells may be passed that are too narrow to be planned through."""


@dataclass(frozen=True, slots=True)
class Place:
    """The base in the map: position [m] and heading [rad]."""

    x: float
    y: float
    yaw: float


@dataclass(frozen=True, slots=True)
class Manners:
    """How a style drives: least clearance from the base's centre [m], the clearance that it likes,
    and what it pays for less of it."""

    clearance: float
    comfort: float
    price: float
    keeps_out_of_zones: bool


CAREFUL = Manners(clearance=0.05, comfort=0.30, price=8.0, keeps_out_of_zones=True)
HURRIED = Manners(clearance=-0.02, comfort=0.0, price=0.0, keeps_out_of_zones=False)
MOST_CLEARANCE_M = 0.10
CLOSE_M = 0.05
"""A gate may stop the robot this far before it would touch something."""


class Navigator:
    """Plans on a floor plan to which it adds what it learns on the way."""

    def __init__(self, plan: Grid, manners: Manners, zones: Iterable[Polygon]) -> None:
        self._plan = plan
        self._manners = manners
        self._zones = tuple(zones) if manners.keeps_out_of_zones else ()
        self._marks: list[tuple[float, float, float]] = []
        self._litter: tuple[tuple[float, float, float], ...] = ()
        self.grid = plan
        self._redraw()

    def allows(self, points: np.ndarray) -> bool:
        """Whether none of points (P, 2 or 3) lies in a zone that is kept out of."""
        return not any(
            zone.contains(Point(float(p[0]), float(p[1]))) for zone in self._zones for p in points
        )

    def knows_what_is_ahead(self, at: Place, radius: float) -> bool:
        """Whether the floor plan explains why the robot cannot go ahead from here."""
        return any(
            self.grid.clearance_at(at.x + d * math.cos(at.yaw), at.y + d * math.sin(at.yaw))
            < radius + CLOSE_M
            for d in (0.1, 0.2, 0.3)
        )

    def take_care(self) -> bool:
        """Keep more distance from now on; false when it keeps all that it can already."""
        manners = self._manners
        if manners.clearance >= MOST_CLEARANCE_M:
            return False
        self._manners = replace(
            CAREFUL,
            clearance=max(manners.clearance + 0.03, CAREFUL.clearance),
            keeps_out_of_zones=manners.keeps_out_of_zones,
        )
        return True

    def mark_ahead(self, at: Place) -> None:
        """Something stopped the robot here: plan around it from now on."""
        x = at.x + MARK_AHEAD_M * math.cos(at.yaw)
        y = at.y + MARK_AHEAD_M * math.sin(at.yaw)
        self._marks.append((x, y, MARK_RADIUS_M))
        self._redraw()

    def widen_mark(self, at: Place) -> None:
        """Turning was refused here: what stopped the robot last is larger than was thought."""
        near = [mark for mark in self._marks if math.hypot(mark[0] - at.x, mark[1] - at.y) < 1.0]
        if near:
            x, y, radius = near[-1]
            self._marks[self._marks.index(near[-1])] = (x, y, radius + 0.06)
            self._redraw()

    def forget_marks(self) -> None:
        """Try again where it was stopped."""
        self._marks.clear()
        self._redraw()

    def set_litter(self, discs: Iterable[tuple[float, float, float]]) -> None:
        """Things on the floor, as (x, y, radius) [m]."""
        litter = tuple((round(x, 2), round(y, 2), round(r, 2)) for x, y, r in discs)
        if litter != self._litter:
            self._litter = litter
            self._redraw()

    def _redraw(self) -> None:
        occupied = self._plan.occupied.copy()
        xs, ys = self._plan.centers()
        for x, y, radius in (*self._marks, *self._litter):
            occupied |= np.hypot(xs - x, ys - y) < radius
        for zone in self._zones:
            x0, y0, x1, y1 = zone.bounds
            for cell in np.argwhere((xs > x0) & (xs < x1) & (ys > y0) & (ys < y1)):
                if zone.contains(Point(xs[tuple(cell)], ys[tuple(cell)])):
                    occupied[tuple(cell)] = True
        self.grid = Grid(occupied, self._plan.origin)

    def routes(self, at: Place, radius: float) -> Routes:
        """Ways from here for a robot of this radius, at the prices of its manners."""
        clearance, manners = self.grid.clearance, self._manners
        wish = manners.comfort + radius
        shortage = np.clip((wish - clearance) / wish, 0.0, 1.0)
        price = 1.0 + manners.price * shortage**2
        price = np.where(clearance >= radius + manners.clearance, price, np.inf)
        xs, ys = self.grid.centers()
        close = np.hypot(xs - at.x, ys - at.y) < ESCAPE_M
        narrow = close & ~np.isfinite(price) & (self._plan.clearance >= radius - 0.04)
        price = np.where(narrow, 12.0, price)
        return Routes(self.grid, self.grid.cell(at.x, at.y), price)

    def next_motion(
        self, path: Sequence[tuple[float, float]], at: Place, radius: float
    ) -> str | None:
        """The action that follows a path best from here; None: its end is reached."""
        end = path[-1]
        if math.hypot(end[0] - at.x, end[1] - at.y) < ARRIVED_M:
            return None
        x, y = self._aim(path, at, radius)
        distance = math.hypot(x - at.x, y - at.y)
        error = wrap_angle(math.atan2(y - at.y, x - at.x) - at.yaw)
        tolerance = min(max(math.atan2(0.10, distance), math.radians(3.5)), math.radians(9.0))
        return turn_towards(error, tolerance) or "move_ahead"

    def _aim(
        self, path: Sequence[tuple[float, float]], at: Place, radius: float
    ) -> tuple[float, float]:
        """The farthest point of the path, from the nearest one on, that lies straight ahead."""
        nearest = min(
            range(len(path)), key=lambda i: math.hypot(path[i][0] - at.x, path[i][1] - at.y)
        )
        aim = path[min(nearest + 1, len(path) - 1)]
        for point in path[nearest + 1 :]:
            if math.hypot(point[0] - at.x, point[1] - at.y) > LOOK_AHEAD_M:
                break
            if self._is_free(at, point, radius):
                aim = point
        return aim

    def _is_free(self, at: Place, to: tuple[float, float], radius: float) -> bool:
        least = radius + self._manners.clearance
        steps = max(int(math.hypot(to[0] - at.x, to[1] - at.y) / 0.05), 1)
        return all(
            self.grid.clearance_at(
                at.x + (to[0] - at.x) * k / steps, at.y + (to[1] - at.y) * k / steps
            )
            >= least
            for k in range(1, steps + 1)
        )


def turn_towards(error: float, tolerance: float) -> str | None:
    """The turn that makes a heading error [rad] smaller; None: it is within tolerance."""
    if abs(error) <= tolerance:
        return None
    side = "left" if error > 0.0 else "right"
    return f"rotate_{side}" if abs(error) > math.radians(18.0) else f"rotate_{side}_small"
