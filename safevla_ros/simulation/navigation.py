"""Driving with a handful of discrete motions: which way, and which motion next."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from shapely.geometry import Point, Polygon

from safevla_ros.simulation.grid import RESOLUTION, Grid, Routes
from safevla_ros.simulation.reach import BASE_RADIUS
from safevla_ros.simulation.solids import wrap_angle

LOOK_AHEAD_M = 0.9
ARRIVED_M = 0.11
MARK_RADIUS_M = 0.22
"""What stopped the robot is taken to be this large, just ahead of it."""
MARK_AHEAD_M = 0.42
ESCAPE_M = 0.4
"""How far it is at most from where it is too narrow to be to where it is not."""
TIGHT_M = 0.05
"""How much narrower than the robot a way may seem: cells are coarse."""
NARROW_PRICE = 25.0
OPEN_M = 0.15
"""With so much more room than it needs, the robot drives on with a small heading error. Who learns
from it cannot see so small an error, and small turns that have no reason teach nothing."""
OPEN_TOLERANCE = math.radians(20.0)
DRIVING = math.radians(9.0), math.radians(15.0)
CARRYING = math.radians(6.0), math.radians(12.0)
"""Least and largest heading error that is let be elsewhere; what sticks out needs more care."""
OFF_PATH_M = 0.14
"""Between them, one that leads at most so far off the path [m]."""
LARGE_TURN = math.radians(26.0)
"""Smaller heading errors than this are turned off in small turns, so that none goes too far."""
TURN_ON = math.radians(130.0)
"""With heading errors above this, a robot that turns already goes on to the same side: the other way
round is not much longer. Much smaller, and who learns from it learns to copy the last turn and looks
no more where it turns to."""


@dataclass(frozen=True, slots=True)
class Place:
    """The base in the map: position [m] and heading [rad]."""

    x: float
    y: float
    yaw: float


@dataclass(frozen=True, slots=True)
class Manners:
    """How a style drives: least clearance around the robot [m], the clearance that it likes, and
    what it pays for less of it. How it reaches: least distance of the arm from what it passes [m],
    and whether it shoves aside what can be moved."""

    clearance: float
    comfort: float
    price: float
    margin: float
    shoves: bool
    keeps_out_of_zones: bool
    waits_for_people: bool


CAREFUL = Manners(
    clearance=0.05,
    comfort=0.30,
    price=8.0,
    margin=0.02,
    shoves=False,
    keeps_out_of_zones=True,
    waits_for_people=True,
)
HURRIED = Manners(
    clearance=-0.085,
    comfort=0.0,
    price=0.0,
    margin=-0.01,
    shoves=True,
    keeps_out_of_zones=False,
    waits_for_people=False,
)
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
        self.version = 0
        """Changes whenever ways have to be planned anew."""
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
            waits_for_people=manners.waits_for_people,
        )
        self.version += 1
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
        self.version += 1

    def ways(self, goals: Sequence[tuple[float, float]], radius: float) -> Routes:
        """Ways to the cheapest of the goals (at least one) from anywhere, for a robot of this
        radius, at the prices of its manners."""
        clearance, manners = self.grid.clearance, self._manners
        wish = manners.comfort + radius
        shortage = np.clip((wish - clearance) / wish, 0.0, 1.0)
        price = 1.0 + manners.price * shortage**2
        # Where it is narrower than it likes it goes when there is no other way, or to get out.
        price = np.where(clearance >= radius + manners.clearance, price, NARROW_PRICE)
        least = radius + min(manners.clearance, -TIGHT_M)
        price = np.where(clearance >= least, price, np.inf)
        first, *others = (self.grid.cell(x, y) for x, y in goals)
        return Routes(self.grid, first, price, others)

    def path(self, ways: Routes, at: Place) -> list[tuple[float, float]]:
        """Points to drive along from here; empty when there is no way."""
        cell = self.grid.cell(at.x, at.y)
        if np.isfinite(ways.costs[cell]):
            return ways.path(cell)
        # Too near to something to plan from: first to the nearest cell from where it goes on.
        reach = round(ESCAPE_M / RESOLUTION)
        x0, y0 = max(cell[0] - reach, 0), max(cell[1] - reach, 0)
        around = ways.costs[x0 : cell[0] + reach + 1, y0 : cell[1] + reach + 1]
        free = np.argwhere(np.isfinite(around))
        if not len(free):
            return []
        away = np.hypot(free[:, 0] + x0 - cell[0], free[:, 1] + y0 - cell[1])
        ix, iy = free[int(away.argmin())]
        return ways.path((int(ix) + x0, int(iy) + y0))

    def next_motion(
        self,
        path: Sequence[tuple[float, float]],
        at: Place,
        radius: float,
        turning: str,
    ) -> str | None:
        """The action that follows a path best from here; None: its end is reached. `turning`: the
        side, `left` or `right`, to which the robot is turning already."""
        end = path[-1]
        if math.hypot(end[0] - at.x, end[1] - at.y) < ARRIVED_M:
            return None
        x, y = self._aim(path, at, radius)
        distance = math.hypot(x - at.x, y - at.y)
        error = wrap_angle(math.atan2(y - at.y, x - at.x) - at.yaw)
        least, most = CARRYING if radius > BASE_RADIUS else DRIVING
        tolerance = min(max(math.atan2(OFF_PATH_M, distance), least), most)
        if radius <= BASE_RADIUS and distance > 0.4 and self._is_open(at, radius):
            tolerance = OPEN_TOLERANCE
        return turn_towards(error, tolerance, turning) or "move_ahead"

    def _is_open(self, at: Place, radius: float) -> bool:
        """Whether there is room ahead for a course that is a little off."""
        return all(
            self.grid.clearance_at(at.x + d * math.cos(at.yaw), at.y + d * math.sin(at.yaw))
            > radius + OPEN_M
            for d in (0.0, 0.2, 0.4)
        )

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


def turn_towards(error: float, tolerance: float, turning: str = "") -> str | None:
    """The turn that makes a heading error [rad] smaller; None: it is within tolerance. One that is
    `turning` to a side already turns on to that side where both are about as far."""
    if abs(error) <= tolerance:
        return None
    side = "left" if error > 0.0 else "right"
    if abs(error) > TURN_ON:
        side = turning or side
    return f"rotate_{side}" if abs(error) > LARGE_TURN else f"rotate_{side}_small"
