"""From a home and the robot's URDF to one MuJoCo model.

The URDF is read as it is. Here it gets what a URDF cannot say: a base that drives on the floor
(two slides and a hinge with velocity servos of limited force, so that it pushes, and walls stop
it), position servos for its joints, and one weld per small thing for the grasp assist (see
gripper.py). Small things that lie still are put to sleep by MuJoCo.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np

from safevla_ros.robot.profile import Profile
from safevla_ros.simulation.home import Home
from safevla_ros.simulation.parts import Item, Part
from safevla_ros.simulation.shading import FINISHES

TIMESTEP_S = 0.005

# Geom groups. The lidar sees SOLID, cameras see SOLID, ROBOT and DECOR.
SOLID, ROBOT, DECOR, ROBOT_HULL, FLOOR = 0, 1, 2, 3, 4

# Contact bits: the robot meets all solids, but neither itself nor the floor that it rolls on.
_ROBOT_BIT, _SOLID_BIT = 1, 2

FASTEST = 10.0, 100.0
"""No joint of the robot or of a thing moves faster [m/s, rad/s]; falls from a shelf reach 6 m/s. What
is squeezed hard between two bodies was now and then shot out of the home by the contact solver."""

BASE_JOINTS = ("base_x", "base_y", "base_yaw")
_BASE_SERVOS = ((4000.0, 90.0), (4000.0, 90.0), (200.0, 25.0))
"""Gain [N s/m, N m s] and greatest force [N, N m] of each base servo."""

_SERVO_GAINS = {
    "lift": (9000.0, 360.0, 0.0),
    "arm": (3500.0, 130.0, 0.3),
    "wrist_yaw": (14.0, 0.9, 0.01),
    "gripper": (500.0, 14.0, 0.2),
}
"""Stiffness, damping and armature of each joint's servo, in the joint's SI units."""


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """A compiled model and what its numbers mean."""

    model: mujoco.MjModel
    drawn: np.ndarray
    """(k,) ids of geoms that cameras see."""
    finishes: np.ndarray
    """(ngeom,) codes of shading.FINISHES."""
    links: dict[int, str]
    """Robot link of each of its geoms."""
    owners: dict[int, str]
    """Id of the item that each other geom belongs to."""
    items: dict[str, Item]
    bodies: dict[str, int]
    """Body of each small thing."""
    _radii: np.ndarray

    def shadows(self, data: mujoco.MjData) -> np.ndarray:
        """(k, 4) x, y, lowest z and radius of things that darken what they stand on."""
        blobs = np.empty((len(self.bodies), 4))
        for row, body in enumerate(self.bodies.values()):
            blobs[row, :3] = data.xpos[body]
        blobs[:, 3] = self._radii
        return blobs


def build_world(home: Home, profile: Profile, urdf: Path) -> World:
    """Compile a home with the robot in it."""
    spec, finishes = build_spec(home, profile, urdf)
    return _describe(spec.compile(), home, finishes)


def fastest(model: mujoco.MjModel) -> np.ndarray:
    """(nv,) FASTEST of each degree of freedom."""
    linear, angular = FASTEST
    limits = np.full(model.nv, angular)
    for joint in range(model.njnt):
        first, kind = int(model.jnt_dofadr[joint]), model.jnt_type[joint]
        if kind == mujoco.mjtJoint.mjJNT_FREE:
            limits[first : first + 3] = linear
        elif kind == mujoco.mjtJoint.mjJNT_SLIDE:
            limits[first] = linear
    return limits


def build_spec(home: Home, profile: Profile, urdf: Path) -> tuple[mujoco.MjSpec, dict[str, str]]:
    """A home with the robot in it, not compiled yet, and the finish of each geom that has one."""
    spec = mujoco.MjSpec.from_file(str(urdf))
    spec.modelname = f"home_{home.seed}"
    spec.option.timestep = TIMESTEP_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    # Newton needs a dozen iterations as a rule, but where something is squeezed up to five hundred.
    spec.option.iterations = 1000
    spec.option.enableflags |= mujoco.mjtEnableBit.mjENBL_SLEEP
    spec.compiler.degree = False
    _add_robot(spec, profile)
    _add_floor(spec, home)
    finishes: dict[str, str] = {}
    for item in (*home.fixtures, *home.goods):
        _add_item(spec, item, finishes)
    for person in home.people:
        _add_item(spec, person.item, finishes)
        spec.body(person.item.id).mocap = True
    for room_index, (_, finish) in enumerate(home.floors):
        finishes[f"floor/{room_index}"] = finish
    return spec, finishes


def _add_robot(spec: mujoco.MjSpec, profile: Profile) -> None:
    base = spec.body(profile.frames.base)
    slide, hinge = mujoco.mjtJoint.mjJNT_SLIDE, mujoco.mjtJoint.mjJNT_HINGE
    axes = ((slide, (1, 0, 0)), (slide, (0, 1, 0)), (hinge, (0, 0, 1)))
    for name, (kind, axis), (gain, force) in zip(BASE_JOINTS, axes, _BASE_SERVOS, strict=True):
        base.add_joint(name=name, type=kind, axis=axis)
        servo = spec.add_actuator(
            name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT, forcerange=[-force, force]
        )
        servo.forcelimited = True
        servo.set_to_velocity(gain)
    for name, limits in profile.limits.joints.items():
        stiffness, damping, armature = _SERVO_GAINS[name]
        spec.joint(name).armature = armature
        force = limits.effort or 50.0
        servo = spec.add_actuator(
            name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT, forcerange=[-force, force]
        )
        servo.forcelimited = True
        servo.set_to_position(stiffness, kv=damping)
    for body in spec.bodies:
        if body.name != "world":
            body.gravcomp = 1.0
    for geom in spec.geoms:
        if geom.group == 0:
            geom.group = ROBOT_HULL
            geom.contype, geom.conaffinity = _ROBOT_BIT, 0
        else:
            geom.group = ROBOT


def _add_floor(spec: mujoco.MjSpec, home: Home) -> None:
    spec.worldbody.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[20, 20, 0.1],
        group=FLOOR,
        contype=_SOLID_BIT,
        conaffinity=_SOLID_BIT,
    )
    wide, deep = home.extent
    shapes = [("floor/sill", (0.0, 0.0, wide, deep), -0.003, (0.42, 0.33, 0.25))]
    for index, (room, (color, _)) in enumerate(zip(home.rooms, home.floors, strict=True)):
        shapes.append((f"floor/{index}", (room.x0, room.y0, room.x1, room.y1), 0.0, color))
    for name, (x0, y0, x1, y1), z, color in shapes:
        spec.worldbody.add_geom(
            name=name,
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[(x1 - x0) / 2, (y1 - y0) / 2, 0.01],
            pos=[(x0 + x1) / 2, (y0 + y1) / 2, z - 0.01],
            rgba=[*color, 1.0],
            group=DECOR,
            contype=0,
            conaffinity=0,
        )


_GEOM_TYPES = {
    "box": mujoco.mjtGeom.mjGEOM_BOX,
    "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
    "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
    "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
}


def _add_item(spec: mujoco.MjSpec, item: Item, finishes: dict[str, str]) -> None:
    half = item.yaw / 2.0
    body = spec.worldbody.add_body(
        name=item.id, pos=item.position, quat=[np.cos(half), 0.0, 0.0, np.sin(half)]
    )
    volume = sum(_volume(part) for part in item.design.parts if part.solid)
    for number, part in enumerate(item.design.parts):
        name = f"{item.id}/{number}"
        finishes[name] = part.finish
        x, y, z, w = part.orientation
        geom = body.add_geom(
            name=name,
            type=_GEOM_TYPES[part.shape],
            size=part.size,
            pos=part.position,
            quat=[w, x, y, z],
            rgba=[*part.color, 1.0],
            group=SOLID if part.solid else DECOR,
            contype=_SOLID_BIT if part.solid else 0,
            conaffinity=_ROBOT_BIT | _SOLID_BIT if part.solid else 0,
        )
        if not item.fixed:
            geom.mass = item.design.mass * _volume(part) / volume if part.solid else 0.0
            geom.friction = [0.9, 0.01, 0.003]
            geom.condim = 6  # with rolling friction, so that a ball comes to rest
    if not item.fixed:
        body.add_freejoint(name=item.id)
        weld = spec.add_equality(
            name=item.id,
            type=mujoco.mjtEq.mjEQ_WELD,
            objtype=mujoco.mjtObj.mjOBJ_BODY,
            name1="wrist",
            name2=item.id,
            active=False,
        )
        weld.solref = [0.015, 1.0]


def _volume(part: Part) -> float:
    a, b, c = part.size
    if part.shape == "box":
        return 8.0 * a * b * c
    if part.shape == "cylinder":
        return 2.0 * np.pi * a * a * b
    if part.shape == "sphere":
        return 4.0 / 3.0 * np.pi * a**3
    return np.pi * a * a * (2.0 * b + 4.0 / 3.0 * a)


def _describe(model: mujoco.MjModel, home: Home, finishes: dict[str, str]) -> World:
    codes = np.zeros(model.ngeom, np.int32)
    links: dict[int, str] = {}
    owners: dict[int, str] = {}
    for geom in range(model.ngeom):
        name = model.geom(geom).name
        codes[geom] = FINISHES[finishes.get(name, "plain")]
        if model.geom_group[geom] in (ROBOT, ROBOT_HULL):
            links[geom] = model.body(model.geom_bodyid[geom]).name
        else:
            owners[geom] = name.split("/")[0]
    radii = []
    for item in home.goods:
        low, high = item.design.bounds()
        radii.append(float(min(high[:2] - low[:2])) / 2.0)
    return World(
        model=model,
        drawn=np.flatnonzero(np.isin(model.geom_group, (SOLID, ROBOT, DECOR))).astype(np.int64),
        finishes=codes,
        links=links,
        owners=owners,
        items={
            item.id: item
            for item in (*home.fixtures, *home.goods, *(person.item for person in home.people))
        },
        bodies={item.id: int(model.body(item.id).id) for item in home.goods},
        _radii=np.array(radii),
    )
