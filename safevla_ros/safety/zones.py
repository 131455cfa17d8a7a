"""Forbidden zones: how they are written down, and how far robot links are from them.

A zone is a prism: a polygon in the plane of its frame, between two heights or without end. The
margin of a link is the signed distance [m] between prism and link capsule, negative inside. The
capsule counts as its shadow in the plane (a segment, less the radius) and its span of heights, each
taken alone: exact for links that lie flat or stand upright, on the safe side for slanted ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import AllowInfNan, BaseModel, ConfigDict, Field, Strict, model_validator

from safevla_ros.robot.state import NANOSECONDS
from safevla_ros.safety.conditions import Text, When
from safevla_ros.safety.state import WorldState

Array = NDArray[np.float64]
Number = Annotated[float, Strict(), AllowInfNan(False)]
Clock = Annotated[str, Strict(), Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]

_DEPTH_POINTS = np.linspace(0.0, 1.0, 5)
"""Where along a link inside a zone its depth is taken; the deepest counts."""


class Zone(BaseModel):
    """A forbidden area: corners (x, y) [m] of a polygon in `frame`, in order, the last joined to the
    first; optionally only within a height range (low, high) [m] above the frame's origin, within daily
    `hours_utc` (from, to: "22:00", "06:30"; ROS time must be the time of day), and `when`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text
    frame: Text = "map"
    polygon: Annotated[tuple[tuple[Number, Number], ...], Field(min_length=3)]
    height_m: tuple[Number, Number] | None = None
    hours_utc: tuple[Clock, Clock] | None = None
    when: When = When()

    @model_validator(mode="after")
    def _has_an_inside(self) -> Zone:
        shape = shapely.Polygon(self.polygon)
        if not shape.is_valid or shape.area < 1e-6:
            raise ValueError("expected a polygon with an area, whose sides do not cross")
        if self.height_m is not None and self.height_m[0] >= self.height_m[1]:
            raise ValueError("height_m: expected low < high")
        return self

    def applies(self, world: WorldState) -> bool:
        """Whether it is forbidden now."""
        if self.when.fails(world):
            return False
        if self.hours_utc is None:
            return True
        minute = world.stamp_ns // (60 * NANOSECONDS) % (24 * 60)
        begin, end = (int(clock[:2]) * 60 + int(clock[3:]) for clock in self.hours_utc)
        return begin <= minute < end if begin <= end else minute >= begin or minute < end


class ZoneShape:
    """One zone, ready for distances."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self._polygon = shapely.Polygon(zone.polygon)
        self._boundary = shapely.linearrings(np.asarray(zone.polygon, np.float64))
        shapely.prepare(self._polygon)
        self._low, self._high = zone.height_m or (-math.inf, math.inf)

    def margins(self, starts: Array, ends: Array, radii: Array) -> Array:
        """Signed distances [m] (N,) of capsules: axis ends (N, 3), (N, 3) and radii (N,)."""
        axes = np.stack([starts[:, :2], ends[:, :2]], axis=1)
        aside = np.asarray(shapely.distance(shapely.linestrings(axes), self._polygon))
        inside = np.flatnonzero(aside == 0.0)
        if inside.size:
            aside[inside] = -self._depths(axes[inside])
        aside -= radii
        if self.zone.height_m is None:
            return aside
        bottoms = np.minimum(starts[:, 2], ends[:, 2]) - radii
        tops = np.maximum(starts[:, 2], ends[:, 2]) + radii
        above = np.maximum(bottoms - self._high, self._low - tops)
        outside = np.hypot(np.maximum(aside, 0.0), np.maximum(above, 0.0))
        return np.where(outside > 0.0, outside, np.maximum(aside, above))

    def _depths(self, axes: Array) -> Array:
        """How deep segments (N, 2, 2) that touch the polygon reach into it [m] (N,)."""
        along = axes[:, :1] + _DEPTH_POINTS[:, None] * (axes[:, 1:] - axes[:, :1])
        points = shapely.points(along)
        depths = shapely.distance(points, self._boundary)
        return np.where(shapely.intersects(self._polygon, points), depths, 0.0).max(axis=1)


def split_by_frame(shapes: Sequence[ZoneShape], frame: str) -> tuple[list[ZoneShape], list[str]]:
    """Zones that are given in `frame`, and the names of those that are not."""
    here = [shape for shape in shapes if shape.zone.frame == frame]
    return here, [shape.zone.name for shape in shapes if shape.zone.frame != frame]
