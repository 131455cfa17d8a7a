"""Floor plans as grids: where a round robot fits, and the cheapest way there.

Cells are indexed (ix, iy); cell (0, 0) has its corner at `origin` in the map.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse import csgraph

RESOLUTION = 0.05
"""Edge of a cell [m]."""

_STEPS = [(1, 0), (0, 1), (1, 1), (1, -1), (1, 2), (2, 1), (2, -1), (1, -2)]


class Grid:
    """Clearance to the nearest obstacle for every cell of a floor plan."""

    def __init__(self, occupied: np.ndarray, origin: tuple[float, float]) -> None:
        """`occupied` (nx, ny) bool: cells that hold something a robot would run into."""
        self.occupied = occupied
        self.origin = origin
        # The grid's outside counts as an obstacle.
        padded = np.pad(occupied, 1, constant_values=True)
        distance = ndimage.distance_transform_edt(~padded)[1:-1, 1:-1]
        self.clearance = np.maximum(distance - 0.5, 0.0) * RESOLUTION

    def cell(self, x: float, y: float) -> tuple[int, int]:
        """Cell of a point of the map; points outside give the nearest cell."""
        ix = int((x - self.origin[0]) / RESOLUTION)
        iy = int((y - self.origin[1]) / RESOLUTION)
        nx, ny = self.occupied.shape
        return min(max(ix, 0), nx - 1), min(max(iy, 0), ny - 1)

    def point(self, cell: tuple[int, int]) -> tuple[float, float]:
        """Middle of a cell in the map [m]."""
        return (
            self.origin[0] + (cell[0] + 0.5) * RESOLUTION,
            self.origin[1] + (cell[1] + 0.5) * RESOLUTION,
        )

    def clearance_at(self, x: float, y: float) -> float:
        """Distance from a point to the nearest obstacle [m]."""
        return float(self.clearance[self.cell(x, y)])

    def centers(self) -> tuple[np.ndarray, np.ndarray]:
        """x and y (nx, ny) of all cells' middles [m]."""
        nx, ny = self.occupied.shape
        x = self.origin[0] + (np.arange(nx) + 0.5) * RESOLUTION
        y = self.origin[1] + (np.arange(ny) + 0.5) * RESOLUTION
        return np.broadcast_to(x[:, None], (nx, ny)), np.broadcast_to(y[None, :], (nx, ny))


class Routes:
    """Cheapest ways between some cells and all others (Dijkstra on a 16-connected grid)."""

    def __init__(
        self,
        grid: Grid,
        start: tuple[int, int],
        cost: np.ndarray,
        others: Sequence[tuple[int, int]] = (),
    ) -> None:
        """`cost` (nx, ny): price of a metre in each cell, at least 1; infinite where one cannot
        go. The start, and `others` where there are several, may always be left."""
        self._grid = grid
        nx, ny = cost.shape
        price = cost.copy()
        starts = (start, *others)
        for cell in starts:
            if not np.isfinite(price[cell]):
                price[cell] = 50.0
        index = np.arange(nx * ny).reshape(nx, ny)
        rows, columns, weights = [], [], []
        for dx, dy in _STEPS:
            a = (slice(0, nx - dx), slice(max(0, -dy), ny - max(0, dy)))
            b = (slice(dx, nx), slice(max(0, dy), ny - max(0, -dy)))
            mean = (price[a] + price[b]) / 2.0
            free = np.isfinite(mean)
            rows.append(index[a][free])
            columns.append(index[b][free])
            weights.append(mean[free] * np.hypot(dx, dy) * RESOLUTION)
        graph = sparse.csr_matrix(
            (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))),
            shape=(nx * ny, nx * ny),
        )
        distances, previous, _ = csgraph.dijkstra(
            graph,
            directed=False,
            indices=np.unique([index[cell] for cell in starts]),
            return_predecessors=True,
            min_only=True,
        )
        self.costs = distances.reshape(nx, ny)
        """(nx, ny) cost of the way between each cell and the nearest start; infinite: none."""
        self._previous = previous
        self._shape = (nx, ny)

    def path(self, cell: tuple[int, int]) -> list[tuple[float, float]]:
        """Points of the map from `cell` to the nearest start; empty when there is no way."""
        if not np.isfinite(self.costs[cell]):
            return []
        at = cell[0] * self._shape[1] + cell[1]
        points = []
        while at >= 0:
            points.append(self._grid.point((at // self._shape[1], at % self._shape[1])))
            at = int(self._previous[at])
        return points
