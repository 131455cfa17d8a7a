"""A camera that traces rays against MuJoCo's primitive geoms: no OpenGL, no display.

It gives the image, the depth and which geom each pixel shows in one go. Light is simple on purpose:
Lambert shading, a soft shade on the floor near furniture, a dark spot under small things.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from safevla_ros.robot.geometry import rotation_matrix
from safevla_ros.robot.state import IDENTITY, Pose
from safevla_ros.simulation.grid import RESOLUTION
from safevla_ros.simulation.home import Home
from safevla_ros.simulation.model import World
from safevla_ros.simulation.rays import trace
from safevla_ros.simulation.shading import shade


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One camera frame: rgb (H, W, 3) uint8; depth (H, W) float32 along the optical axis [m], inf:
    nothing; geom (H, W) int32 MuJoCo geom ids, -1: nothing."""

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    geom: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """Pinhole calibration: frame, size [px], focal lengths and principal point [px]."""

    frame: str
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float


def pinhole(frame: str, vertical_fov_deg: float, width: int, height: int) -> CameraInfo:
    """Calibration of a camera with square pixels."""
    focal = height / 2.0 / math.tan(math.radians(vertical_fov_deg) / 2.0)
    return CameraInfo(frame, width, height, focal, focal, width / 2.0, height / 2.0)


class RayCamera:
    """Draws a world as seen from the robot's optical frames. Keeps no state between frames."""

    def __init__(self, world: World, home: Home) -> None:
        model = world.model
        self._world = world
        self._kinds = np.asarray(model.geom_type, np.int32)
        self._sizes = np.asarray(model.geom_size, float)
        self._halves = _half_boxes(self._kinds, self._sizes)
        self._geoms = world.drawn
        light = home.light
        self._colors = 255.0 * np.asarray(model.geom_rgba, float)[:, :3] * np.array(light.tint)
        self._light = np.array([*light.direction, light.intensity, light.ambient])
        self._floor_shade = _floor_shade(home)
        x0, y0 = home.grid.origin
        self._floor_scale = np.array([x0, y0, 1.0 / RESOLUTION])

    def look(self, data: mujoco.MjData, info: CameraInfo, moved: Pose) -> View:
        """The view of an optical frame (a link of the robot) as `data` stands, seen from `moved` in
        that frame."""
        size = (info.height, info.width)
        inverse = np.empty(size, np.float32)
        seen = np.empty(size, np.int32)
        faces = np.empty(size, np.uint8)
        rgb = np.empty((*size, 3), np.uint8)
        body = self._world.model.body(info.frame).id
        axes = np.array(data.xmat[body]).reshape(3, 3)
        eye = np.array(data.xpos[body]) + axes @ np.array(moved.position)
        if moved.orientation != IDENTITY:
            axes = axes @ rotation_matrix(moved.orientation)
        focal = (info.fx, info.fy, info.cx, info.cy)
        positions, matrices = data.geom_xpos, data.geom_xmat
        trace(
            self._kinds, self._sizes, self._halves, positions, matrices, self._order(data, eye),
            eye, axes, focal, inverse, seen, faces,
        )  # fmt: skip
        shade(
            self._kinds, self._sizes, positions, matrices, self._colors, self._world.finishes,
            eye, axes, focal, self._light, self._floor_shade, self._floor_scale,
            self._world.shadows(data), inverse, seen, faces, rgb,
        )  # fmt: skip
        with np.errstate(divide="ignore"):
            depth = np.float32(1.0) / inverse
        return View(rgb, depth, seen)

    def _order(self, data: mujoco.MjData, eye: np.ndarray) -> np.ndarray:
        """Drawn geoms, near ones first: what they hide need not be traced."""
        offsets = data.geom_xpos[self._geoms] - eye
        reach = np.sqrt((self._halves[self._geoms] ** 2).sum(axis=1))
        return self._geoms[np.argsort(np.sqrt((offsets**2).sum(axis=1)) - reach)]


def _half_boxes(kinds: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(n, 3) half extents of every geom's own bounding box."""
    halves = sizes.copy()
    geom = mujoco.mjtGeom
    for kind, has_caps in ((geom.mjGEOM_CYLINDER, 0.0), (geom.mjGEOM_CAPSULE, 1.0)):
        rows = kinds == kind
        radius, half = sizes[rows, 0], sizes[rows, 1]
        halves[rows] = np.column_stack([radius, radius, half + has_caps * radius])
    balls = kinds == geom.mjGEOM_SPHERE
    halves[balls] = sizes[balls, :1]
    return halves


def _floor_shade(home: Home) -> np.ndarray:
    """(nx, ny) factor on the floor's brightness: darker beneath and beside furniture and walls."""
    covered = ndimage.gaussian_filter(home.grid.occupied.astype(float), 0.14 / RESOLUTION)
    return 1.0 - 0.6 * covered
