"""The latest reading of each of the robot's signals, and how odometry and localisation fit together.

A pose or scan is placed by the odometry of its own time, so a pose that is a minute old (a localiser
that is silent while the robot stands) and a scan taken while the robot turns are both right.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from safevla_ros.robot.geometry import compose, inverse, moved
from safevla_ros.robot.state import (
    NANOSECONDS,
    BaseVelocity,
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
_STANDING = 0.01
"""A base slower than this stands [m/s, rad/s]."""
_FASTEST = 100.0
"""No base moves faster than this [m/s, rad/s]; what says so is broken."""
_FARTHEST = 1e6
"""Nothing, no robot and no joint is farther than this from its zero [m, rad]; what says so is broken."""
_LARGEST_M = 5.0
"""No loose thing is longer than this [m]; what says so is broken, and would fill the look-ahead."""


class Signals:
    """The latest reading of each of the robot's signals, by its name in the profile."""

    def __init__(self) -> None:
        self._latest: dict[str, tuple[int, Any]] = {}
        self._faults: dict[str, str] = {}
        self._odometry: deque[tuple[int, Odometry]] = deque()
        self._correction: Pose | None = None
        self._moved_ns: int | None = None

    def update(self, name: str, stamp_ns: int, value: Any) -> bool:
        """Keep a reading (a type of `robot.state`, as `robot.messages.read_signal` makes it).

        False: it is older than the one that is kept, and was dropped. If it is so by more than
        AHEAD_S, the kept one was of a wrong clock, and gives way.
        """
        kept = self._latest.get(name)
        if kept is not None and 0 < kept[0] - stamp_ns <= AHEAD_S * NANOSECONDS:
            return False
        self._latest[name] = (stamp_ns, value)
        self._faults[name] = _absurdity(value)
        if name == "odometry":
            if self._faults[name]:
                return True  # nothing is placed by it
            while self._odometry and self._odometry[-1][0] > stamp_ns:
                self._odometry.pop()
            self._odometry.append((stamp_ns, value))
            if _moves(value.velocity):
                self._moved_ns = stamp_ns
            while self._odometry[0][0] < stamp_ns - HISTORY_S * NANOSECONDS:
                self._odometry.popleft()
        if name in ("odometry", "localisation"):
            self._place_odometry(arrived=name)
        return True

    def clear(self) -> None:
        """Forget everything, as after a jump of the clock."""
        self._latest.clear()
        self._faults.clear()
        self._odometry.clear()
        self._correction = self._moved_ns = None

    def latest(self, name: str) -> tuple[int, Any] | None:
        """Stamp [ns] and value of the last reading."""
        return self._latest.get(name)

    def fault(self, name: str) -> str:
        """What the last reading says that no robot does. Empty: nothing."""
        return self._faults.get(name, "")

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

    def odometry_of_last(self, lasts_s: float, until_ns: int) -> list[tuple[int, Odometry]]:
        """Stamps [ns] and messages of so long a time up to `until_ns`, oldest first."""
        since_ns = until_ns - round(lasts_s * NANOSECONDS)
        return [entry for entry in self._odometry if since_ns <= entry[0] <= until_ns]

    def _place_odometry(self, arrived: str) -> None:
        """Renew the odometry frame's pose, until odometry has passed the localisation's stamp."""
        localisation = self._latest.get("localisation")
        if localisation is None or not self._odometry:
            return
        stamp_ns, value = localisation
        earlier = self._odometry[-2][0] if len(self._odometry) > 1 else None
        if arrived == "odometry" and earlier is not None and earlier >= stamp_ns:
            return  # settled before this odometry came
        at = self.odometry_at(stamp_ns) or self._stood_at(stamp_ns)
        if at is not None:
            self._correction = compose(value.pose, inverse(at))
        elif arrived == "localisation":
            self._correction = None

    def _stood_at(self, stamp_ns: int) -> Pose | None:
        """Where the base has stood since a time before the remembered odometry. None: it moved.

        Localisers such as AMCL tell a pose when the robot has moved, and then keep silent. A pose
        from before the first odometry is taken to be the present one for the same reason: had the
        robot moved on, a newer one would have been told.
        """
        last_ns, last = self._odometry[-1]
        has_moved_since = self._moved_ns is not None and self._moved_ns >= stamp_ns
        return None if last_ns < stamp_ns or has_moved_since else last.pose


def _moves(velocity: BaseVelocity) -> bool:
    return max(abs(velocity.x), abs(velocity.y), abs(velocity.yaw)) > _STANDING


def _absurdity(reading: Any) -> str:
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
    if isinstance(reading, SceneObjects):
        return next(filter(None, map(_absurd_object, reading.objects)), "")
    return ""


def _absurd_object(entry: SceneObject) -> str:
    position, size = entry.pose.position, entry.size
    if max(map(abs, position)) > _FARTHEST:
        return f"no {entry.id} is at {position}"
    if min(size) < 0.0 or (max(size) > _LARGEST_M and not entry.fixed):
        return f"no {entry.id} has the size {size}"
    return ""
