"""Sensor messages as points of what stands in the way, made when a message is first used.

- A scan's hits, in the scan's frame.
- The occupied cells of a grid, as their centres, in the grid's frame.
- A point cloud in the base frame: one point per voxel, without the floor, without the robot itself
  and without what is far away.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from safevla_ros.robot.geometry import capsule_distances, transform_points
from safevla_ros.robot.messages import LaserScan, OccupancyGrid, PointCloud
from safevla_ros.robot.state import Capsule, Pose

Array = NDArray[np.float64]

NEAR_M = 4.0
"""Farther things are of no concern to a robot that drives 1 m/s."""
OCCUPIED = 65
"""Cells of this value [%] and more are occupied (nav2's threshold); unknown ones are not."""
CLOUD_M = 2.5
"""Points of a cloud that are farther away than this, ahead or aside, are left out."""
_TOP_M = 2.2
"""Points of a cloud above this height are above the robot."""
_VOXEL_M = 0.05
_FLOOR_M = 0.05
"""Points of a cloud below this height above the floor are taken to be the floor's."""
_SELF_M = 0.04
"""Points this near to a link's hull are taken to be of the robot."""


class ObstacleModel:
    """Points of the last message of each kind, kept until the next."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[object, Array]] = {}

    def scanned(self, scan: LaserScan) -> Array:
        """Hits (N, 3) of a scan in its own frame."""
        kept = self._kept.get("scan")
        if kept is None or kept[0] is not scan:
            kept = self._kept["scan"] = scan, _hits(scan)
        return kept[1]

    def mapped(self, grid: OccupancyGrid) -> Array:
        """Centres (N, 3) of occupied cells in the grid's frame."""
        kept = self._kept.get("grid")
        if kept is None or kept[0] is not grid:
            kept = self._kept["grid"] = grid, _occupied(grid)
        return kept[1]

    def clouded(self, cloud: PointCloud, mount: Pose, links: Sequence[Capsule]) -> Array:
        """Points (N, 3) in the base frame; `mount` is the sensor's pose there, `links` the robot."""
        kept = self._kept.get("points")
        if kept is None or kept[0] is not cloud:
            kept = self._kept["points"] = cloud, _thinned(cloud, mount, links)
        return kept[1]


def near(points: Array, base: Pose) -> Array:
    """Those of points (N, 3) that are within NEAR_M of the base in the plane."""
    offsets = points[:, :2] - np.asarray(base.position[:2])
    return points[(offsets**2).sum(axis=1) <= NEAR_M**2]


def _hits(scan: LaserScan) -> Array:
    ranges = scan.ranges
    hit = np.isfinite(ranges) & (ranges >= scan.range_min) & (ranges <= scan.range_max)
    angles = scan.angle_min + scan.angle_increment * np.flatnonzero(hit)
    return np.stack(
        [ranges[hit] * np.cos(angles), ranges[hit] * np.sin(angles), np.zeros(angles.size)], axis=1
    )


def _occupied(grid: OccupancyGrid) -> Array:
    rows, columns = np.nonzero(grid.cells >= OCCUPIED)
    centres = (np.stack([columns, rows], axis=1) + 0.5) * grid.resolution_m
    return transform_points(grid.origin, np.column_stack([centres, np.zeros(len(centres))]))


def _thinned(cloud: PointCloud, mount: Pose, links: Sequence[Capsule]) -> Array:
    points = transform_points(mount, cloud.points)
    reach_m = np.maximum(np.abs(points[:, 0]), np.abs(points[:, 1]))
    points = points[(points[:, 2] > _FLOOR_M) & (points[:, 2] < _TOP_M) & (reach_m < CLOUD_M)]
    points = points[_one_per_voxel(points)]
    if not links:
        return points
    starts, ends = (np.array([getattr(link, end) for link in links]) for end in ("start", "end"))
    radii = np.array([link.radius for link in links])
    farthest = np.abs(np.concatenate([starts, ends])[:, :2]).max() + radii.max() + _SELF_M
    near = np.flatnonzero(np.abs(points[:, :2]).max(axis=1, initial=0.0) <= farthest)
    apart = capsule_distances(starts[None], ends[None], radii, points[near])[0]
    return np.delete(points, near[apart <= _SELF_M], axis=0)


def _one_per_voxel(points: Array) -> NDArray[np.bool_]:
    """Marks one of the points (N, 3) in each voxel: the last one that was written to its cell."""
    wide, high = round(2.0 * CLOUD_M / _VOXEL_M) + 1, round(_TOP_M / _VOXEL_M) + 1
    x, y = ((points[:, axis] + CLOUD_M) // _VOXEL_M for axis in (0, 1))
    cells = ((x * wide + y) * high + points[:, 2] // _VOXEL_M).astype(np.int64)
    last, numbers = np.empty(wide * wide * high, np.int64), np.arange(len(points))
    last[cells] = numbers
    return np.asarray(last[cells] == numbers)
