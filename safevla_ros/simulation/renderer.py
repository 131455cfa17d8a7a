"""MuJoCo's own renderer (OpenGL) for looks and video: shadows, smooth light, materials.

It sees through the same pinhole cameras as the ray camera, which is what a policy sees. It needs no
display: EGL or OSMesa will do (MUJOCO_GL says which).
"""

from __future__ import annotations

import ctypes.util
import importlib
import os
from types import TracebackType
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from safevla_ros.robot.state import Vector3
from safevla_ros.simulation.dressing import dressed_model
from safevla_ros.simulation.model import DECOR, ROBOT, SOLID
from safevla_ros.simulation.simulation import Simulation
from safevla_ros.simulation.vendor import VendorRobot

_LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}
NEAR_M, FAR_M = 0.02, 40.0
"""Nothing nearer or farther than this is drawn."""
_MOST_GEOMS = 4000


class RendererError(RuntimeError):
    """Why nothing can be drawn with OpenGL here, in one sentence."""


class Renderer:
    """Draws one simulation at one size. Use as a context manager, or close it; one thread only. After
    a reset of the simulation it needs a new one."""

    def __init__(
        self,
        simulation: Simulation,
        width: int,
        height: int,
        vendor: VendorRobot | None = None,
    ) -> None:
        """Size in px; `vendor`: how the robot looks, see vendor.py. Raises RendererError where there
        is no OpenGL."""
        self._simulation = simulation
        self._vendor = vendor
        model = dressed_model(simulation.home, simulation.profile, vendor)
        self._model = model
        self._own = _addresses(model, simulation.model)
        self._data = mujoco.MjData(model)
        self._size = width, height
        self._context = _make_context(width, height)
        self._context.make_current()
        model.vis.global_.offwidth = max(width, model.vis.global_.offwidth)
        model.vis.global_.offheight = max(height, model.vis.global_.offheight)
        self._drawing = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._drawing)
        self._drawing.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._scene = mujoco.MjvScene(model, _MOST_GEOMS)
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = 0
        self._option.geomgroup[[SOLID, ROBOT, DECOR]] = 1
        self._rectangle = mujoco.MjrRect(0, 0, width, height)

    def __enter__(self) -> Renderer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the OpenGL context back."""
        self._context.make_current()
        self._drawing.free()
        self._context.free()

    def look(self, camera: str) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Image (height, width, 3) and depth (height, width) along the optical axis [m] of a camera
        of the profile, the latter FAR_M where there is nothing. KeyError names an unknown one."""
        info = self._simulation.camera_info(camera, *self._size)
        self._follow()
        frame = self._data.body(info.frame)
        axes = frame.xmat.reshape(3, 3)
        return self._draw(frame.xpos, axes[:, 2], -axes[:, 1], info.height / 2.0 / info.fy)

    def look_from(self, eye: Vector3, at: Vector3, vertical_fov_deg: float) -> NDArray[np.uint8]:
        """Image (height, width, 3) from a place in the map towards another [m], upright."""
        self._follow()
        forward = np.subtract(at, eye)
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, (0.0, 0.0, 1.0))
        up = np.cross(right / np.linalg.norm(right), forward)
        slope = float(np.tan(np.radians(vertical_fov_deg) / 2.0))
        return self._draw(np.array(eye), forward, up, slope)[0]

    def overview(self) -> NDArray[np.uint8]:
        """Image (height, width, 3) of the whole home, from above the outer wall in front."""
        wide, deep = self._simulation.home.extent
        height = max(1.05 * wide * self._size[1] / self._size[0], 1.25 * deep)
        at = (wide / 2.0, deep / 2.0, 0.0)
        return self.look_from((wide / 2.0, deep / 2.0 - 0.45 * height, 1.1 * height), at, 48.0)

    def _follow(self) -> None:
        """Take over where everything is in the simulation."""
        state, own = self._simulation.state, self._data
        own.qpos[self._own] = state.qpos
        own.mocap_pos[:], own.mocap_quat[:] = state.mocap_pos, state.mocap_quat
        if self._vendor is not None:
            self._vendor.follow(self._model, own)
        mujoco.mj_kinematics(self._model, own)
        mujoco.mj_comPos(self._model, own)
        mujoco.mj_camlight(self._model, own)

    def _draw(
        self, eye: np.ndarray, forward: np.ndarray, up: np.ndarray, slope: float
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Image and depth; `slope`: half the image's height at distance 1. Pixels are square."""
        self._context.make_current()
        mujoco.mjv_updateScene(
            self._model,
            self._data,
            self._option,
            None,
            mujoco.MjvCamera(),
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        for camera in self._scene.camera:
            camera.pos, camera.forward, camera.up = eye, forward, up
            camera.frustum_near, camera.frustum_far = NEAR_M, FAR_M
            camera.frustum_top, camera.frustum_bottom = NEAR_M * slope, -NEAR_M * slope
            camera.frustum_center = 0.0
        self._scene.lights[0].dir = forward  # the headlight is at the camera
        mujoco.mjr_render(self._rectangle, self._scene, self._drawing)
        size = (self._rectangle.height, self._rectangle.width)
        rgb, window = np.empty((*size, 3), np.uint8), np.empty(size, np.float32)
        mujoco.mjr_readPixels(rgb, window, self._rectangle, self._drawing)
        # The depth buffer holds 1 at the near plane and 0 at the far one.
        depth = NEAR_M * FAR_M / (NEAR_M + window * (FAR_M - NEAR_M))
        return np.flipud(rgb), np.flipud(depth.astype(np.float32))


def _addresses(model: mujoco.MjModel, simulated: mujoco.MjModel) -> NDArray[np.int64]:
    """(nq of `simulated`,) where `model` keeps the positions of the joints of that name."""
    found = np.empty(simulated.nq, np.int64)
    for number in range(simulated.njnt):
        joint = simulated.joint(number)
        begin, count = int(joint.qposadr[0]), len(joint.qpos0)
        found[begin : begin + count] = int(model.joint(joint.name).qposadr[0]) + np.arange(count)
    return found


def _make_context(width: int, height: int) -> Any:
    asked = os.environ.get("MUJOCO_GL", "").lower()
    reasons = []
    for name, library in _LIBRARIES.items():
        if asked not in ("", name):
            continue
        if ctypes.util.find_library(library) is None:
            reasons.append(f"{name}: lib{library} is not installed")
            continue
        try:
            return importlib.import_module(f"mujoco.{name}").GLContext(width, height)
        except (ImportError, RuntimeError, AttributeError) as error:
            reasons.append(f"{name}: {error}")
    why = "; ".join(reasons) or f"MUJOCO_GL={asked}"
    raise RendererError(f"no OpenGL: expected EGL or OSMesa (libegl1 or libosmesa6): {why}")
