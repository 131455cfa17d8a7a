"""The grasp assist: a declared stand-in for what real fingers do by friction.

While the gripper closes and a finger touches a small thing whose body is between the fingers, the
thing is welded to the wrist as it lies there, and the fingers stop. Opening the gripper releases
it. A pull that tears it out of place by more than SLIP_M releases it too, so things can be lost.
What is held keeps its mass and its contacts with everything else.
"""

from __future__ import annotations

import mujoco
import numpy as np

from safevla_ros.robot.profile import Roles
from safevla_ros.simulation.drivers import JointDrivers
from safevla_ros.simulation.model import World

REACH_M = 0.065
"""How far from a thing's axis the grasp centre may be."""
SLIP_M = 0.04
"""A held thing that is pulled this far out of its place in the gripper is lost."""
CLOSING_M = 0.004
"""A target this far below the opening counts as closing."""
SQUEEZE_M = 0.003
"""The fingers' target lies this far inside of what they hold."""
OPENING_M = 0.002
"""A target this far above the one that holds counts as opening."""

_FINGERS = ("finger_left", "finger_right")


class Gripper:
    """What the robot holds, and how it comes to hold it."""

    def __init__(self, world: World, joints: JointDrivers, roles: Roles) -> None:
        model = world.model
        self._world = world
        self._joints = joints
        self.joint = roles.gripper
        self._wrist = int(model.body("wrist").id)
        self._center = int(model.body("grasp_center").id)
        self._fingers = {int(model.body(name).id) for name in _FINGERS}
        self._welds = {id_: int(model.equality(id_).id) for id_ in world.bodies}
        self._id_of = {body: id_ for id_, body in world.bodies.items()}
        self._hold = 0.0
        self.held: str = ""
        """Id of the thing in the gripper; empty: none."""

    def update(self, data: mujoco.MjData) -> None:
        """Take or release, as commands and contacts of the last physics step say."""
        opening = self._joints.position(data, self.joint)
        wanted = self._joints.target(self.joint)
        if self.held:
            if self.opens() or self._slipped(data):
                self._release(data)
        elif wanted < opening - CLOSING_M and data.ncon:
            for id_ in self._touched(data):
                if self._between_fingers(data, id_):
                    self._take(data, id_)
                    self._hold = max(opening - SQUEEZE_M, 0.0)
                    self._joints.command({self.joint: self._hold})
                    break

    def opens(self) -> bool:
        """Whether something is held that the next update will release."""
        return bool(self.held) and self._joints.target(self.joint) > self._hold + OPENING_M

    def carry(self, data: mujoco.MjData, step_s: float) -> None:
        """Put what is held where the wrist is now, without physics."""
        body = self._world.bodies[self.held]
        weld = self._world.model.eq_data[self._welds[self.held]]
        place, turn = np.empty(3), np.empty(4)
        mujoco.mju_rotVecQuat(place, weld[3:6], data.xquat[self._wrist])
        mujoco.mju_mulQuat(turn, data.xquat[self._wrist], weld[6:10])
        joint = int(self._world.model.body_jntadr[body])
        qpos, qvel = (
            int(a[joint]) for a in (self._world.model.jnt_qposadr, self._world.model.jnt_dofadr)
        )
        place += data.xpos[self._wrist]
        data.qvel[qvel : qvel + 3] = (place - data.qpos[qpos : qpos + 3]) / step_s
        data.qvel[qvel + 3 : qvel + 6] = 0.0
        data.qpos[qpos : qpos + 3], data.qpos[qpos + 3 : qpos + 7] = place, turn

    def _touched(self, data: mujoco.MjData) -> list[str]:
        bodies = self._world.model.geom_bodyid[data.contact.geom]
        found = []
        for first, second in bodies.tolist():
            for finger, other in ((first, second), (second, first)):
                if finger in self._fingers and other in self._id_of:
                    found.append(self._id_of[other])
        return found

    def _between_fingers(self, data: mujoco.MjData, id_: str) -> bool:
        """Whether the grasp centre is near the thing's own upright axis, within its height."""
        body = self._world.bodies[id_]
        turn = data.xmat[body].reshape(3, 3)
        point = turn.T @ (data.xpos[self._center] - data.xpos[body])
        low, high = self._world.items[id_].design.bounds()
        return bool(np.hypot(point[0], point[1]) < REACH_M and low[2] < point[2] < high[2])

    def _take(self, data: mujoco.MjData, id_: str) -> None:
        place, turn = self._in_wrist(data, id_)
        weld = self._welds[id_]
        # Layout of a weld's data: anchor (3), relative position (3), quaternion (4), torque scale.
        values = self._world.model.eq_data[weld]
        values[0:3] = 0.0
        values[3:6], values[6:10], values[10] = place, turn, 1.0
        data.eq_active[weld] = 1
        self.held = id_

    def _release(self, data: mujoco.MjData) -> None:
        data.eq_active[self._welds[self.held]] = 0
        self.held = ""

    def _slipped(self, data: mujoco.MjData) -> bool:
        place, _ = self._in_wrist(data, self.held)
        wanted = self._world.model.eq_data[self._welds[self.held]][3:6]
        return bool(np.linalg.norm(place - wanted) > SLIP_M)

    def _in_wrist(self, data: mujoco.MjData, id_: str) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) and quaternion (4, w first) of a thing in the wrist's frame."""
        body = self._world.bodies[id_]
        back, turn = np.empty(4), np.empty(4)
        mujoco.mju_negQuat(back, data.xquat[self._wrist])
        mujoco.mju_mulQuat(turn, back, data.xquat[body])
        place = np.empty(3)
        mujoco.mju_rotVecQuat(place, data.xpos[body] - data.xpos[self._wrist], back)
        return place, turn
