"""The simulated world: a robot in a home, stepped by MuJoCo, read and commanded as plain data."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Literal

import mujoco
import numpy as np
from numpy.typing import NDArray

from safevla_ros.paths import share_directory
from safevla_ros.policy.interface import Instruction
from safevla_ros.robot.geometry import planar, yaw_of
from safevla_ros.robot.messages import LaserScan
from safevla_ros.robot.profile import Profile, load_profile
from safevla_ros.robot.state import (
    BaseVelocity,
    Command,
    Contact,
    Joint,
    Localisation,
    Odometry,
    Pose,
    SceneObject,
    SceneObjects,
)
from safevla_ros.simulation.camera import CameraInfo, RayCamera, View, pinhole
from safevla_ros.simulation.contacts import ContactLog
from safevla_ros.simulation.drivers import BaseDriver, JointDrivers
from safevla_ros.simulation.glide import GLIDE_S, Glide
from safevla_ros.simulation.gripper import Gripper
from safevla_ros.simulation.home import Home, generate_home
from safevla_ros.simulation.model import SOLID, TIMESTEP_S, World, build_world, fastest
from safevla_ros.simulation.parts import Item
from safevla_ros.simulation.people import People
from safevla_ros.simulation.reach import FOLDED_WRIST
from safevla_ros.simulation.scenario import Scenario
from safevla_ros.simulation.tasks import Outcome, instruction_for, judge

Physics = Literal["fast", "full"]

START_LIFT_M = 0.6
SETTLE_S = 0.5
"""Things settle on their supports for this long before an episode's time 0."""

_IN_PLACE = Pose((0.0, 0.0, 0.0))
_GLIDE_STEPS = round(GLIDE_S / TIMESTEP_S)

SCAN_RAYS = 360
SCAN_RANGE_M = (0.05, 8.0)


class Simulation:
    """A scenario being simulated, in `full` physics or `fast` (see glide.py). Not thread-safe.

    `render`, `look` and `scan` read the state as it is after the last `advance`.
    """

    scenario: Scenario
    profile: Profile
    home: Home
    _scene: SceneObjects | None = None

    def __init__(
        self,
        scenario: Scenario,
        profile: Profile | None = None,
        *,
        physics: Physics = "full",
    ) -> None:
        """Build the world. `profile`: the robot's limits and cameras; default: the sim robot's.
        Raises ScenarioError when the scenario asks for what cannot be there."""
        self.physics = physics
        self.on_physics_step: Callable[[], None] = lambda: None
        """Called after each step of the physics, to look at what is brief."""
        self.profile = profile or load_profile("sim")
        self._urdf = share_directory() / self.profile.urdf
        self.reset(scenario)

    def reset(self, scenario: Scenario | None = None) -> None:
        """Start anew, in another scenario if one is given. Time starts at 0 again."""
        if scenario is not None:
            self.scenario = scenario
            self.home = generate_home(scenario)
        # Built anew each time, so that no trace of the last episode is left in the solver.
        self._world: World = build_world(self.home, self.profile, self._urdf)
        self._model = self._world.model
        self._data = mujoco.MjData(self._model)
        self._fastest = fastest(self._model)
        outputs, limits = self.profile.outputs, self.profile.limits
        self._base = BaseDriver(self._model, limits.base, outputs.driver_timeout_s)
        self._joints = JointDrivers(self._model, limits.joints)
        self._gripper = Gripper(self._world, self._joints, self.profile.roles)
        self._glide = Glide(self._world, self._base, self._joints, self._gripper)
        self._contacts = ContactLog(self._world)
        self._people = People(self._model, self.home.people)
        self._camera = RayCamera(self._world, self.home)
        self._fixed = tuple(
            _scene_object(item)
            for item in self.home.fixtures
            if any(part.solid for part in item.design.parts)
        )
        self._boxes = {item.id: (np.array(item.box_offset), item.size) for item in self.home.goods}
        start = self.home.start
        self._base.place(self._data, *start.position[:2], yaw_of(start.orientation))
        roles = self.profile.roles
        self._joints.place(
            self._data,
            {
                roles.lift: START_LIFT_M,
                roles.wrist: FOLDED_WRIST,
                roles.gripper: roles.gripper_open,
            },
        )
        self._data.qpos[self._model.joint("gripper_right").qposadr[0]] = roles.gripper_open
        mujoco.mj_forward(self._model, self._data)
        self._steps = 0
        self._step(round(SETTLE_S / TIMESTEP_S))
        self._scene = None
        self._contacts.take()
        self._origin = self._base.pose(self._data)
        self._steps = 0
        self._data.time = 0.0
        self._verdict: tuple[Outcome, str] | None = None

    def branch(self) -> Simulation:
        """An independent copy of the world as it is now, to see what would happen in it."""
        return copy.deepcopy(self)

    @property
    def model(self) -> mujoco.MjModel:
        """The compiled model, for MuJoCo's own tools."""
        return self._model

    @property
    def data(self) -> mujoco.MjData:
        """Its state now, to be read."""
        return self._data

    @property
    def time_s(self) -> float:
        """Simulated time since the last reset."""
        return self._steps * TIMESTEP_S

    @property
    def object_in_hand(self) -> bool:
        """Whether the gripper holds something."""
        return bool(self._gripper.held)

    @property
    def held(self) -> str:
        """Id of what the gripper holds; empty: nothing."""
        return self._gripper.held

    @property
    def state(self) -> mujoco.MjData:
        """MuJoCo's state, to be drawn; it changes with the next `advance`."""
        return self._data

    @property
    def robot_description(self) -> str:
        """Text of the robot's URDF."""
        return self._urdf.read_text(encoding="utf-8")

    def instruction(self) -> Instruction:
        """What the scenario asks for, with the target's ids (privileged)."""
        return instruction_for(self.scenario, self.home)

    def apply(self, command: Command) -> None:
        """Command base and joints together; the base obeys for `duration_s`, and for the driver's
        timeout at most. KeyError names an unknown joint."""
        self._base.command(command.velocity, self._data.time, command.duration_s)
        self._joints.command(command.joints)

    def drive(self, velocity: BaseVelocity) -> None:
        """Command the base alone (a Twist); it stops by itself after the driver's timeout."""
        self._base.command(velocity, self._data.time, None)

    def move_joints(self, targets: Mapping[str, float]) -> None:
        """Command joints alone: absolute targets by name; the others keep theirs. KeyError names
        an unknown joint."""
        self._joints.command(targets)

    def advance(self, duration_s: float) -> None:
        """Let simulated time pass, in whole physics steps; at least one."""
        self._run(max(round(duration_s / TIMESTEP_S), 1))

    def _run(self, steps: int) -> None:
        self._scene = None
        while steps > 0:
            some = min(steps, _GLIDE_STEPS)
            self._people.update(self._data, some * TIMESTEP_S, self._base.pose(self._data)[:2])
            if self.physics == "full" or not self._glide.move(self._data, some * TIMESTEP_S):
                self._step(some)
            steps -= some
            self._steps += some

    def _step(self, steps: int) -> None:
        for _ in range(steps):
            self._base.update(self._data, TIMESTEP_S)
            self._joints.update(self._data, TIMESTEP_S)
            mujoco.mj_step(self._model, self._data)
            np.clip(self._data.qvel, -self._fastest, self._fastest, out=self._data.qvel)
            if self._data.ncon:
                self._contacts.record(self._data, self._gripper.held)
            self._gripper.update(self._data)
            self.on_physics_step()

    def joints(self) -> dict[str, Joint]:
        """Readings of the profile's joints, with efforts."""
        drivers, data = self._joints, self._data
        return {
            name: Joint(
                drivers.position(data, name),
                drivers.velocity(data, name),
                drivers.effort(data, name),
            )
            for name in self.profile.limits.joints
        }

    def odometry(self) -> Odometry:
        """Pose since the start in frame odom (without drift), velocity in the base frame."""
        x, y, yaw = self._base.pose(self._data)
        x0, y0, yaw0 = self._origin
        c, s = math.cos(yaw0), math.sin(yaw0)
        dx, dy = x - x0, y - y0
        pose = planar(c * dx + s * dy, c * dy - s * dx, yaw - yaw0)
        return Odometry(self.profile.frames.odom, pose, self._base.velocity(self._data))

    def localisation(self) -> Localisation:
        """True pose in frame map."""
        return Localisation(self.profile.frames.map, planar(*self._base.pose(self._data)))

    def objects(self) -> SceneObjects:
        """Everything solid in the home as boxes in frame map: walls and furniture fixed, small
        things as they lie now, people where they are."""
        if self._scene is None:
            goods = tuple(self._good(item) for item in self.home.goods)
            scene = (*self._fixed, *goods, *self._people.objects())
            self._scene = SceneObjects(self.profile.frames.map, scene, complete=True)
        return self._scene

    def _good(self, item: Item) -> SceneObject:
        body = self._world.bodies[item.id]
        w, x, y, z = self._data.xquat[body].tolist()
        offset, size = self._boxes[item.id]
        center = self._data.xpos[body] + self._data.xmat[body].reshape(3, 3) @ offset
        dof = int(self._model.body_dofadr[body])
        return SceneObject(
            item.id,
            item.class_name,
            Pose(tuple(center.tolist()), (x, y, z, w)),
            size,
            velocity=tuple(self._data.qvel[dof : dof + 3].tolist()),
            held=item.id == self._gripper.held,
        )

    def contacts(self) -> tuple[Contact, ...]:
        """Contacts since the last call, in frame map: robot links with things, and what the held
        thing touches. One per pair, with the largest force, so that nothing brief is lost."""
        return self._contacts.take()

    def scan(self) -> LaserScan:
        """The 2D lidar's scan in the lidar's frame, infinite where nothing is hit. It sees solid
        things only, and not the robot itself."""
        body = self._model.body("lidar").id
        angles = np.linspace(-math.pi, math.pi, SCAN_RAYS, endpoint=False)
        local = np.column_stack([np.cos(angles), np.sin(angles), np.zeros(SCAN_RAYS)])
        rays = local @ self._data.xmat[body].reshape(3, 3).T
        hits, distances = np.empty(SCAN_RAYS, np.int32), np.empty(SCAN_RAYS)
        groups = np.zeros(6, np.uint8)
        groups[SOLID] = 1
        low, high = SCAN_RANGE_M
        mujoco.mj_multiRay(
            self._model, self._data, np.array(self._data.xpos[body]), rays.reshape(-1), groups,
            True, -1, hits, distances, None, SCAN_RAYS, high,
        )  # fmt: skip
        ranges = np.where((hits >= 0) & (distances >= low), distances, np.inf)
        return LaserScan("lidar", -math.pi, 2.0 * math.pi / SCAN_RAYS, low, high, ranges)

    def render(self, camera: str, width: int, height: int) -> NDArray[np.uint8]:
        """Image (height, width, 3) of a camera of the profile. KeyError names an unknown one."""
        return self.look(camera, width, height).rgb

    def look(self, camera: str, width: int, height: int, moved: Pose = _IN_PLACE) -> View:
        """Image, depth and geom ids of a camera of the profile, `moved` out of its place in its
        own frame. KeyError names an unknown one."""
        return self._camera.look(self._data, self.camera_info(camera, width, height), moved)

    def camera_info(self, camera: str, width: int, height: int) -> CameraInfo:
        """Calibration of a camera of the profile at that size. KeyError names an unknown one."""
        for entry in self.profile.cameras:
            if entry.name == camera:
                return pinhole(entry.frame, entry.vertical_fov_deg, width, height)
        names = ", ".join(entry.name for entry in self.profile.cameras)
        raise KeyError(f"camera {camera!r}: expected one of {names}")

    def owner(self, geom: int) -> str:
        """Id of the thing that a geom of a view belongs to; empty: the robot's, or none."""
        return self._world.owners.get(geom, "")

    def declare_end(self) -> None:
        """The policy says that it is done: the outcome is decided now, for good."""
        if self._verdict is None and self.time_s <= self.scenario.time_limit_s:
            scene = self.objects().objects
            self._verdict = judge(
                self.scenario,
                self.home,
                held=self._gripper.held,
                base=self._base.pose(self._data)[:2],
                objects={entry.id: entry for entry in scene},
                visible=self.visible_shares(self.home.target_ids),
            )

    def outcome(self) -> tuple[Outcome | None, str]:
        """The verdict and its reason; None while undecided (neither declared nor out of time)."""
        if self._verdict is None and self.time_s > self.scenario.time_limit_s:
            limit = self.scenario.time_limit_s
            self._verdict = (Outcome.FAILURE, f"not done within {limit:.0f} s")
        return self._verdict or (None, "")

    def visible_shares(self, ids: tuple[str, ...]) -> NDArray[np.float64]:
        """(k,) share of the first camera's image that shows each of the things."""
        view = self.look(self.profile.cameras[0].name, 160, 120)
        geoms, counts = np.unique(view.geom, return_counts=True)
        shares = dict.fromkeys(ids, 0.0)
        for geom, count in zip(geoms.tolist(), counts.tolist(), strict=True):
            owner = self._world.owners.get(geom, "")
            if owner in shares:
                shares[owner] += count / view.geom.size
        return np.array([shares[id_] for id_ in ids])


def _scene_object(item: Item) -> SceneObject:
    return SceneObject(item.id, item.class_name, item.box_pose, item.size, fixed=True)
