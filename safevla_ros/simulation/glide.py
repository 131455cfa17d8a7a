"""The fast mode: the robot moves without physics for as long as it touches nothing.

Base and joints follow their drivers' ramps exactly, what is held follows the wrist, and the rest of
the world stands. Before anything would be touched, let go, or while anything still moves, a glide
declines, and the physics is stepped as in full mode. So contacts, pushes, grasps and falls are the
same in both modes; what differs is that a gliding joint does not lag behind its set point.
"""

from __future__ import annotations

import mujoco
import numpy as np

from safevla_ros.simulation.drivers import BaseDriver, JointDrivers
from safevla_ros.simulation.gripper import Gripper
from safevla_ros.simulation.model import World

GLIDE_S = 0.05
"""Contacts are looked for this often; the base moves 2 cm and turns 3 degrees meanwhile."""
STILL_M_S = 0.01
STILL_RAD_S = 0.1
"""Things slower than this are at rest."""


class Glide:
    """Moves the robot of one world kinematically."""

    def __init__(
        self, world: World, base: BaseDriver, joints: JointDrivers, gripper: Gripper
    ) -> None:
        model = world.model
        self._model = model
        self._base, self._joints, self._gripper = base, joints, gripper
        self._bodies = world.bodies
        self._is_robot = np.zeros(model.nbody, bool)
        self._is_robot[model.geom_bodyid[list(world.links)]] = True
        firsts = model.body_dofadr[list(world.bodies.values())]
        self._moving = firsts[:, None] + np.arange(6)

    def move(self, data: mujoco.MjData, duration_s: float) -> bool:
        """Move the robot for that long, at most GLIDE_S. False: nothing was done, this is a matter
        for the physics."""
        if self._gripper.opens() or self._something_moves(data):
            return False
        before = (data.qpos.copy(), data.qvel.copy(), self._base.ramp, self._joints.set_points)
        self._base.glide(data, duration_s)
        fingers = () if not self._gripper.held else (self._gripper.joint,)
        self._joints.glide(data, duration_s, stopped=fingers)
        mujoco.mj_kinematics(self._model, data)
        if self._gripper.held:
            self._gripper.carry(data, duration_s)
            mujoco.mj_kinematics(self._model, data)
        mujoco.mj_collision(self._model, data)
        if data.ncon and self._touches(data):
            data.qpos[:], data.qvel[:], self._base.ramp, self._joints.set_points = before
            return False
        data.time += duration_s
        return True

    def _something_moves(self, data: mujoco.MjData) -> bool:
        speeds = np.abs(data.qvel[self._moving])
        if self._gripper.held:
            speeds[list(self._bodies).index(self._gripper.held)] = 0.0
        return bool((speeds > _STILL).any())

    def _touches(self, data: mujoco.MjData) -> bool:
        """Whether robot or held thing touch anything but each other."""
        own = self._is_robot
        if self._gripper.held:
            own = own.copy()
            own[self._bodies[self._gripper.held]] = True
        pairs = own[self._model.geom_bodyid[data.contact.geom]]
        return bool((pairs[:, 0] != pairs[:, 1]).any())


_STILL = np.array([STILL_M_S] * 3 + [STILL_RAD_S] * 3)
