"""The world as cost terms and the gate see it, and the one place where signals become it.

Monitor, simulator and bag reader all feed plain readings into `Signals` and ask `WorldAssembler`
for a `WorldState`. That they share this code is what makes their costs equal.

A world state follows from the latest message of each signal and the odometry of the last
HISTORY_S seconds, by stamps alone: whoever feeds the same messages, each signal in its own order,
gets the same state. Localisation and scan are placed by the odometry of their own time, so a pose
that is a minute old (a localiser that is silent while the robot stands) and a scan taken while the
robot turns are both right.

The world frame is the profile's `map` when the robot has a localisation signal, else its `odom`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from safevla_ros.robot.geometry import compose, inverse, moved, rotate, transform_points
from safevla_ros.robot.messages import LaserScan
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

HISTORY_S = 2.0
"""How far back odometry is remembered."""
AHEAD_S = 0.5
"""How far a stamp may lie ahead of the time of the world state, which is the odometry's: odometry
may be late. What lies farther ahead is of a wrong clock."""
_ANCHOR_S = 1.0
"""How far from the nearest odometry a pose or scan may lie in time and still be placed by it."""
_FASTEST = 100.0
"""No base moves faster than this [m/s, rad/s]; what says so is broken."""
_FARTHEST = 1e6
"""No robot or joint is farther than this from its zero [m, rad]; what says so is broken."""
_ORIGIN = Pose((0.0, 0.0, 0.0))
_T = TypeVar("_T")


class KinematicModel(Protocol):
    """What this package needs to know of a robot's body (`robot.kinematics.Kinematics` fits)."""

    def capsules(self, base: Pose, joints: Mapping[str, Joint]) -> tuple[Capsule, ...]:
        """Hulls of all links, in the frame of `base`'s pose."""

    def link_pose(self, name: str, base: Pose, joints: Mapping[str, Joint]) -> Pose:
        """Pose of one link in the frame of `base`'s pose."""


@dataclass(frozen=True, slots=True)
class Task:
    """What the running episode asks for. Empty: unknown, or no episode."""

    target_ids: tuple[str, ...] = ()
    target_class: str = ""
    task: str = ""


NO_TASK = Task()


@dataclass(frozen=True, slots=True, eq=False)
class WorldState:
    """Robot and surroundings at one time, in `frame`. None: not known, see `missing` for why.

    `obstacles` are the scan's points (N, 3) [m]. `velocity` is the base's, in the base frame.
    `release_commanded`: the gripper was last told to open. `sources` are the stamps of the messages
    this was made from, by signal; `missing` says for each field that is None what is wrong.
    """

    stamp_ns: int
    frame: str
    base: Pose | None = None
    velocity: BaseVelocity | None = None
    joints: Mapping[str, Joint] | None = None
    links: tuple[Capsule, ...] | None = None
    objects: Mapping[str, SceneObject] | None = None
    contacts: tuple[Contact, ...] | None = None
    obstacles: NDArray[np.float64] | None = None
    task: Task = NO_TASK
    release_commanded: bool = False
    sources: Mapping[str, int] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


class Signals:
    """The latest reading of each of the robot's signals, by its name in the profile."""

    def __init__(self) -> None:
        self._latest: dict[str, tuple[int, Any]] = {}
        self._odometry: deque[tuple[int, Odometry]] = deque()
        self._correction: Pose | None = None

    def update(self, name: str, stamp_ns: int, value: Any) -> bool:
        """Keep a reading (a type of `robot.state`, as `robot.messages.read_signal` makes it).

        False: it is older than the one that is kept, and was dropped. If it is so by more than
        AHEAD_S, the kept one was of a wrong clock, and gives way.
        """
        kept = self._latest.get(name)
        if kept is not None and 0 < kept[0] - stamp_ns <= AHEAD_S * NANOSECONDS:
            return False
        self._latest[name] = (stamp_ns, value)
        if name == "odometry":
            if _absurdity(value):
                return True  # nothing is placed by it
            while self._odometry and self._odometry[-1][0] > stamp_ns:
                self._odometry.pop()
            self._odometry.append((stamp_ns, value))
            while self._odometry[0][0] < stamp_ns - HISTORY_S * NANOSECONDS:
                self._odometry.popleft()
        if name in ("odometry", "localisation"):
            self._place_odometry(arrived=name)
        return True

    def clear(self) -> None:
        """Forget everything, as after a jump of the clock."""
        self._latest.clear()
        self._odometry.clear()
        self._correction = None

    def latest(self, name: str) -> tuple[int, Any] | None:
        """Stamp [ns] and value of the last reading."""
        return self._latest.get(name)

    @property
    def stamps(self) -> dict[str, int]:
        """Stamp [ns] of the last reading of every signal that ever came."""
        return {name: stamp for name, (stamp, _) in self._latest.items()}

    @property
    def odometry_origin(self) -> Pose | None:
        """Pose of the odometry frame in the localisation's frame. None: not known."""
        return self._correction

    def odometry_at(self, stamp_ns: int) -> Pose | None:
        """Pose of the base in the odometry frame at a time: from the last odometry up to then (or
        the first after it), moved on at its velocity. None: nothing near enough in time."""
        best: tuple[int, Odometry] | None = None
        for entry in reversed(self._odometry):
            best = entry
            if entry[0] <= stamp_ns:
                break
        if best is None:
            return None
        gap_s = (stamp_ns - best[0]) / NANOSECONDS
        if abs(gap_s) > _ANCHOR_S:
            return None
        return moved(best[1].pose, best[1].velocity, gap_s)

    def _place_odometry(self, arrived: str) -> None:
        """Renew the odometry frame's pose, until odometry has passed the localisation's stamp."""
        localisation = self._latest.get("localisation")
        if localisation is None or not self._odometry:
            return
        stamp_ns, value = localisation
        earlier = self._odometry[-2][0] if len(self._odometry) > 1 else None
        if arrived == "odometry" and earlier is not None and earlier >= stamp_ns:
            return  # settled before this odometry came
        at = self.odometry_at(stamp_ns)
        if at is not None:
            self._correction = compose(value.pose, inverse(at))
        elif arrived == "localisation":
            self._correction = None


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
        self._scan: LaserScan | None = None
        self._scan_points = np.empty((0, 3))

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
            touching: tuple[Contact, ...] = reading("contacts")
            return touching

        def obstacles() -> NDArray[np.float64]:
            scan: LaserScan = reading("scan")
            stamp, _ = signals.latest("scan") or (0, None)
            at = signals.odometry_at(stamp)
            if at is None:
                raise _Unknown("scan: no odometry near its stamp")
            mount = self._mount(scan.frame, reading)
            return transform_points(compose(compose(origin(), at), mount), self._points(scan))

        def objects() -> Mapping[str, SceneObject]:
            scene: SceneObjects = reading("objects")
            if scene.frame == self.frame:
                return {entry.id: entry for entry in scene.objects}
            if scene.frame == self._frames.odom:
                holder = origin()
            elif scene.frame == self._frames.base:
                holder = based()
            else:
                raise _Unknown(f"objects: frame {scene.frame!r} cannot be reached")
            return {entry.id: _moved_object(holder, entry) for entry in scene.objects}

        return WorldState(
            stamp_ns=stamp_ns,
            frame=self.frame,
            base=base,
            velocity=known("velocity", velocity),
            joints=known("joints", joints),
            links=known("links", lambda: self._links(based(), joints())),
            objects=known("objects", objects),
            contacts=known("contacts", contacts),
            obstacles=known("obstacles", obstacles),
            task=task,
            release_commanded=release_commanded,
            sources=signals.stamps,
            missing=missing,
        )

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
        if absurdity := _absurdity(latest[1]):
            raise _Unknown(f"{name}: {absurdity}")
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

    def _mount(self, frame: str, reading: Callable[[str], Any]) -> Pose:
        """Pose of a sensor in the base frame."""
        if frame == self._frames.base:
            return _ORIGIN
        if self._kinematics is None:
            raise _Unknown(f"scan: no kinematic model to find frame {frame!r} with")
        try:
            return self._kinematics.link_pose(frame, _ORIGIN, reading("joint_states"))
        except ValueError as error:  # no such link, or a joint without a reading
            raise _Unknown(f"scan: {error}") from error

    def _points(self, scan: LaserScan) -> NDArray[np.float64]:
        """The scan's hits (N, 3) in its own frame; kept until the next scan."""
        if scan is not self._scan:
            self._scan, self._scan_points = scan, _hits(scan)
        return self._scan_points


def _absurdity(reading: Any) -> str:
    """What this reading of a signal says that no robot does. Empty: nothing."""
    if isinstance(reading, Mapping):
        for name, joint in reading.items():
            if abs(joint.position) > _FARTHEST:
                return f"no joint {name} is at {joint.position}"
    if isinstance(reading, Odometry | Localisation):
        position = reading.pose.position
        if max(map(abs, position)) > _FARTHEST:
            return f"no robot is at {position}"
    if isinstance(reading, Odometry):
        velocity = reading.velocity
        if max(abs(velocity.x), abs(velocity.y), abs(velocity.yaw)) > _FASTEST:
            return f"no base moves at {velocity}"
    return ""


def _hits(scan: LaserScan) -> NDArray[np.float64]:
    ranges = scan.ranges
    hit = np.isfinite(ranges) & (ranges >= scan.range_min) & (ranges <= scan.range_max)
    angles = scan.angle_min + scan.angle_increment * np.flatnonzero(hit)
    return np.stack(
        [ranges[hit] * np.cos(angles), ranges[hit] * np.sin(angles), np.zeros(angles.size)], axis=1
    )


def _moved_object(holder: Pose, entry: SceneObject) -> SceneObject:
    return replace(
        entry,
        pose=compose(holder, entry.pose),
        velocity=rotate(holder.orientation, entry.velocity),
    )
