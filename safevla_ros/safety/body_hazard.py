"""What the look-ahead tests the link hulls against, on behalf of collision (see hazards.py)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from safevla_ros.robot.geometry import Boxes, box_distances, capsule_distances
from safevla_ros.safety.body import BodyMotion
from safevla_ros.safety.hazards import EXACT, NOTHING, is_clear_of_instructed
from safevla_ros.safety.known_boxes import boxes_to_avoid
from safevla_ros.safety.prediction import Prediction
from safevla_ros.safety.state import Hulls, WorldState

Array = NDArray[np.float64]

_CLOUD = "what the point cloud sees"


class BodyHazard:
    """The link hulls against each point of the point cloud and each known loose object.
    `clearance_m` must remain to the points of the cloud; boxes are larger than what they hold."""

    term = "collision"

    def __init__(self, clearance_m: float, manipulation_range_m: float) -> None:
        self._clearance_m = clearance_m
        self._range_m = manipulation_range_m
        self._world: WorldState | None = None
        self._points: Array
        self._boxes: tuple[Boxes, list[str]]
        self._judged: list[str] = []
        self.clearance: Array | float = 0.0

    def margins(self, ahead: Prediction) -> Array | None:
        world = ahead.world
        if not world.links or (world.cloud is None and world.objects is None):
            return None
        if world is not self._world:  # several motions are tested in one world
            self._world = world
            self._points = self._seen(world)
            self._boxes = boxes_to_avoid(world, self._range_m)
        if not len(self._points) and not self._boxes[1]:
            self._judged, self.clearance = ["nothing"], 0.0
            return NOTHING
        from_points = self._from_points(world, ahead.body)
        from_boxes, owners = self._from_boxes(world.hulls, ahead.body, *self._boxes)
        self._judged = [_CLOUD] * from_points.shape[1] + owners
        if not self._judged:
            self._judged, self.clearance = ["nothing"], 0.0
            return NOTHING
        self.clearance = np.repeat([self._clearance_m, 0.0], [from_points.shape[1], len(owners)])
        return np.concatenate([from_points, from_boxes], axis=1)

    def cause(self, column: int) -> str:
        return f"a link would touch {self._judged[column]}"

    def _seen(self, world: WorldState) -> Array:
        """Points (N, 3) of the cloud that are not of the instructed object or near it."""
        if world.cloud is None:
            return np.empty((0, 3))
        return world.cloud[is_clear_of_instructed(world, world.cloud, self._range_m)]

    def _from_points(self, world: WorldState, body: BodyMotion) -> Array:
        """Margins (K, N) to the points that any link may come to."""
        hulls, sweep_m = world.hulls, body.sweep_m
        near = self._points[self._near(world, sweep_m)]
        apart = capsule_distances(hulls.starts[None], hulls.ends[None], hulls.radii, near)[0]
        near = near[apart - self._clearance_m <= sweep_m + EXACT]
        if not len(near):
            return np.empty((body.samples, 0))
        return capsule_distances(*body.placed, hulls.radii, near) - self._clearance_m

    def _near(self, world: WorldState, sweep_m: float) -> NDArray[np.int64]:
        """Which points any link may come to, by their distance from the base in the plane."""
        assert world.base is not None
        hulls, origin = world.hulls, np.asarray(world.base.position[:2])
        ends = np.concatenate([hulls.starts, hulls.ends])[:, :2] - origin
        reach_m = float(np.sqrt((ends**2).sum(axis=1).max())) + float(hulls.radii.max()) + sweep_m
        offsets = self._points[:, :2] - origin
        return np.flatnonzero(
            (offsets**2).sum(axis=1) <= (reach_m + self._clearance_m + EXACT) ** 2
        )

    def _from_boxes(
        self, hulls: Hulls, body: BodyMotion, boxes: Boxes, owners: Sequence[str]
    ) -> tuple[Array, list[str]]:
        """Margins (K, N) to the objects that any link may come to, and which these are."""
        within_m = body.sweep_m + EXACT
        # From most boxes links are so far away that a sphere around the box tells.
        axes = hulls.starts[:, None], hulls.ends[:, None]
        apart = capsule_distances(*axes, np.zeros(1), boxes.centres) - hulls.radii[:, None]
        spheres_m = np.sqrt((boxes.halves**2).sum(axis=1))
        rows, links = np.nonzero((apart - spheres_m <= within_m).T)
        if rows.size:
            axes = hulls.starts[None, links], hulls.ends[None, links]
            apart = box_distances(*axes, boxes[rows])[0] - hulls.radii[links]
            rows, links = rows[apart <= within_m], links[apart <= within_m]
        if not rows.size:
            return np.empty((body.samples, 0)), []
        starts, ends = body.placed
        apart = box_distances(starts[:, links], ends[:, links], boxes[rows]) - hulls.radii[links]
        found = [owners[row] for row in rows.tolist()]
        firsts = [at for at, owner in enumerate(found) if not at or owner != found[at - 1]]
        return np.minimum.reduceat(apart, firsts, axis=1), [found[at] for at in firsts]
