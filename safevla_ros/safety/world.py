"""The world as cost terms and the gate see it, and the one place where signals become it.

Monitor, simulator and bag reader all feed plain readings into `Signals` and ask `WorldAssembler`
for a `WorldState`. That they share this code is what makes their costs equal.

A world state follows from the latest message of each signal and the odometry of the last
`signals.HISTORY_S` seconds, by stamps alone: whoever feeds the same messages, each signal in its own order,
gets the same state.

The world frame is the profile's `map` when the robot has a localisation signal, else its `odom`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from safevla_ros.robot.geometry import compose, rotate, transform_points
from safevla_ros.robot.messages import LaserScan, OccupancyGrid, PointCloud
from safevla_ros.robot.profile import Profile
from safevla_ros.robot.state import (
    NANOSECONDS,
    BaseVelocity,
    Capsule,
    Contact,
    Joint,
    Localisation,
    Odometry,
    Pose,
    SceneObject,
    SceneObjects,
)
from safevla_ros.safety.effort_contacts import contacts_from_efforts, feels_contacts
from safevla_ros.safety.impact_contacts import WITHIN_S, contacts_from_impacts, feels_impacts
from safevla_ros.safety.obstacles import ObstacleModel, near
from safevla_ros.safety.signals import AHEAD_S, Signals
from safevla_ros.safety.state import (
    NO_TASK,
    PERSON,
    CameraView,
    KinematicModel,
    KnownObjects,
    Scene,
    Task,
    WorldState,
)

__all__ = [
    "NO_TASK",
    "PERSON",
    "KinematicModel",
    "Scene",
    "Signals",
    "Task",
    "WorldAssembler",
    "WorldState",
]

_ORIGIN = Pose((0.0, 0.0, 0.0))
_T = TypeVar("_T")


class _Unknown(Exception):
    """A field of the world state cannot be known; the message says why."""


class WorldAssembler:
    """Turns signals into world states. `kinematics` None: links and obstacles stay unknown."""

    def __init__(self, profile: Profile, kinematics: KinematicModel | None) -> None:
        self._signals = profile.signals.present()
        self._frames = profile.frames
        self._localised = profile.signals.localisation is not None
        self.frame = profile.frames.map if self._localised else profile.frames.odom
        self._kinematics = kinematics
        self._limits = profile.limits
        self._cameras = profile.cameras
        self._obstacles = ObstacleModel()
        self._scene: SceneObjects | None = None
        self._holder: Pose | None = None
        self._objects = KnownObjects()

    def assemble(
        self,
        signals: Signals,
        stamp_ns: int,
        task: Task = NO_TASK,
        release_commanded: bool = False,
    ) -> WorldState:
        """The world at `stamp_ns` (the odometry's stamp, when a step is sampled).

        A signal that never came, is older than the profile's `max_age_s` at `stamp_ns` or more
        than AHEAD_S ahead of it, says what no robot does, or is given in a frame that cannot be
        reached leaves its fields None.
        """
        missing: dict[str, str] = {}

        def known(field_name: str, make: Callable[[], _T]) -> _T | None:
            try:
                return make()
            except _Unknown as reason:
                missing[field_name] = str(reason)
                return None

        def reading(name: str) -> Any:
            return self._reading(signals, name, stamp_ns)

        def origin() -> Pose:
            return self._odometry_origin(signals, stamp_ns)

        def pose() -> Pose:
            odometry: Odometry = reading("odometry")
            if odometry.frame != self._frames.odom:
                raise _Unknown(
                    f"odometry: frame {odometry.frame!r}, the profile says {self._frames.odom!r}"
                )
            return compose(origin(), odometry.pose)

        base = known("base", pose)

        def based() -> Pose:
            if base is None:
                raise _Unknown(missing["base"])
            return base

        def velocity() -> BaseVelocity:
            odometry: Odometry = reading("odometry")
            return odometry.velocity

        def joints() -> Mapping[str, Joint]:
            readings: Mapping[str, Joint] = reading("joint_states")
            return readings

        def contacts() -> tuple[Contact, ...]:
            """As a sensor tells them, else as joints and base feel them."""
            limits = self._limits
            by_joints, by_base = feels_contacts(limits.joints), feels_impacts(limits.base)
            felt: tuple[Contact, ...] = ()
            if "contacts" in self._signals or not (by_joints or by_base):
                felt = reading("contacts")
                return felt
            if by_joints:
                try:
                    felt += contacts_from_efforts(reading("joint_states"), limits.joints)
                except ValueError as error:
                    raise _Unknown(f"contacts: {error}") from error
            if by_base:
                reading("odometry")  # which must be fresh
                lately = signals.odometry_of_last(WITHIN_S, stamp_ns)
                felt += contacts_from_impacts(lately, limits.base, self._frames.base)
            return felt

        def odometry_then(name: str) -> Pose:
            """Where the base was in the odometry frame at the stamp of a signal."""
            stamp, _ = signals.latest(name) or (0, None)
            at = signals.odometry_at(stamp)
            if at is None:
                raise _Unknown(f"{name}: no odometry near its stamp")
            return at

        def scanned() -> NDArray[np.float64]:
            scan: LaserScan = reading("scan")
            mount = self._mount("scan", scan.frame, reading)
            pose = compose(compose(origin(), odometry_then("scan")), mount)
            return transform_points(pose, self._obstacles.scanned(scan))

        def mapped() -> NDArray[np.float64]:
            grid: OccupancyGrid = reading("grid")
            points = self._obstacles.mapped(grid)
            if grid.frame == self._frames.odom and grid.frame != self.frame:
                points = transform_points(origin(), points)
            elif grid.frame != self.frame:
                raise _Unknown(f"grid: frame {grid.frame!r} cannot be reached")
            return near(points, based())

        def obstacles() -> NDArray[np.float64]:
            """Of scan and grid, whichever the robot has; one that it has must be there."""
            if "grid" not in self._signals:
                return scanned()
            if "scan" not in self._signals:
                return mapped()
            return np.concatenate([scanned(), mapped()])

        def cloud() -> NDArray[np.float64]:
            points: PointCloud = reading("points")
            mount = self._mount("points", points.frame, reading)
            links = self._links(_ORIGIN, joints())
            return transform_points(
                compose(origin(), odometry_then("points")),
                self._obstacles.clouded(points, mount, links),
            )

        def objects() -> Mapping[str, SceneObject]:
            scene: SceneObjects = reading("objects")
            if scene.frame == self.frame:
                return self._known_objects(scene, None)
            if scene.frame == self._frames.odom:
                return self._known_objects(scene, origin())
            mount = self._mount("objects", scene.frame, reading)
            seen_from = compose(compose(origin(), odometry_then("objects")), mount)
            return self._known_objects(scene, seen_from)

        def cameras() -> tuple[CameraView, ...]:
            return tuple(
                CameraView(
                    camera.name,
                    compose(based(), self._mount(f"camera {camera.name}", camera.frame, reading)),
                    0.5 * math.radians(camera.vertical_fov_deg),
                )
                for camera in self._cameras
            )

        known_objects = known("objects", objects)

        def link_velocities() -> NDArray[np.float64]:
            if self._kinematics is None:
                raise _Unknown("link_velocities: no kinematic model")
            try:
                return self._kinematics.capsule_velocities(based(), velocity(), joints())
            except ValueError as error:  # a joint without a reading
                raise _Unknown(f"link_velocities: {error}") from error

        is_anybody_near = any(o.class_name == PERSON for o in (known_objects or {}).values())
        return WorldState(
            stamp_ns=stamp_ns,
            frame=self.frame,
            base=base,
            velocity=known("velocity", velocity),
            joints=known("joints", joints),
            links=known("links", lambda: self._links(based(), joints())),
            objects=known_objects,
            contacts=known("contacts", contacts),
            obstacles=known("obstacles", obstacles),
            cloud=known("cloud", cloud) if "points" in self._signals else None,
            cameras=known("cameras", cameras),
            limits=self._limits,
            link_velocities=known("link_velocities", link_velocities) if is_anybody_near else None,
            link_pairs=None if self._kinematics is None else self._kinematics.separable,
            task=task,
            release_commanded=release_commanded,
            sources=signals.stamps,
            missing=missing,
        )

    def _known_objects(self, scene: SceneObjects, holder: Pose | None) -> KnownObjects:
        """The objects of a message in the world frame, the same until one of the two changes; `holder`
        is the pose there of the frame that they are given in. None: it is the world frame."""
        if scene is not self._scene or holder != self._holder:
            self._scene, self._holder = scene, holder
            self._objects = KnownObjects(
                (entry.id, entry if holder is None else _moved_object(holder, entry))
                for entry in scene.objects
            )
        return self._objects

    def _reading(self, signals: Signals, name: str, stamp_ns: int) -> Any:
        signal = self._signals.get(name)
        if signal is None:
            raise _Unknown(f"{name}: the robot has no such signal")
        latest = signals.latest(name)
        if latest is None:
            raise _Unknown(f"{name}: nothing received on {signal.topic}")
        age_s = (stamp_ns - latest[0]) / NANOSECONDS
        if age_s > signal.max_age_s:
            raise _Unknown(f"{name}: {age_s:.2f} s old, at most {signal.max_age_s} s is allowed")
        if age_s < -AHEAD_S:
            raise _Unknown(f"{name}: its stamp is {-age_s:.2f} s ahead")
        if fault := signals.fault(name):
            raise _Unknown(f"{name}: {fault}")
        return latest[1]

    def _odometry_origin(self, signals: Signals, stamp_ns: int) -> Pose:
        """Pose of the odometry frame in the world frame."""
        if not self._localised:
            return _ORIGIN
        localisation: Localisation = self._reading(signals, "localisation", stamp_ns)
        if localisation.frame != self.frame:
            raise _Unknown(
                f"localisation: frame {localisation.frame!r}, the profile says {self.frame!r}"
            )
        if signals.odometry_origin is None:
            raise _Unknown("localisation: no odometry near its stamp")
        return signals.odometry_origin

    def _links(self, base: Pose, joints: Mapping[str, Joint]) -> tuple[Capsule, ...]:
        if self._kinematics is None:
            raise _Unknown("links: no kinematic model")
        try:
            return self._kinematics.capsules(base, joints)
        except ValueError as error:  # a joint without a reading
            raise _Unknown(f"links: {error}") from error

    def _mount(self, name: str, frame: str, reading: Callable[[str], Any]) -> Pose:
        """Pose of a sensor in the base frame."""
        if frame == self._frames.base:
            return _ORIGIN
        if self._kinematics is None:
            raise _Unknown(f"{name}: no kinematic model to find frame {frame!r} with")
        try:
            return self._kinematics.link_pose(frame, _ORIGIN, reading("joint_states"))
        except ValueError as error:  # no such link, or a joint without a reading
            raise _Unknown(f"{name}: {error}") from error


def _moved_object(holder: Pose, entry: SceneObject) -> SceneObject:
    return replace(
        entry,
        pose=compose(holder, entry.pose),
        velocity=rotate(holder.orientation, entry.velocity),
    )
