"""People in a home: each walks a path to and fro, and makes way for the robot.

A person turns back rather than come nearer to the robot than PERSONAL_SPACE_M, and then waits at
the end of the path for PATIENCE_S: whoever gets closer than that is the robot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from safevla_ros.robot.geometry import from_yaw
from safevla_ros.robot.state import Pose, SceneObject
from safevla_ros.simulation.parts import Item

if TYPE_CHECKING:
    import mujoco

PERSONAL_SPACE_M = 1.1
PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Person:
    """Who walks from the item's place to `end` and back [m, map], at a speed [m/s], and stands for
    `pause_s` at either end."""

    item: Item
    end: tuple[float, float]
    speed_m_s: float
    pause_s: float


class People:
    """Moves the people of a home in a simulation (they are mocap bodies) and reports them."""

    def __init__(self, model: mujoco.MjModel, people: tuple[Person, ...]) -> None:
        self._walks = [
            _Walk(person, int(model.body(person.item.id).mocapid[0])) for person in people
        ]

    def update(self, data: mujoco.MjData, step_s: float, robot: tuple[float, float]) -> None:
        """Walk on for `step_s` with the robot's base at `robot` [m, map]."""
        for walk in self._walks:
            walk.update(step_s, robot)
            walk.place(data)

    def objects(self) -> tuple[SceneObject, ...]:
        """The people as they are now, with their velocities."""
        return tuple(walk.seen() for walk in self._walks)


class _Walk:
    """One person's way: where on it, which direction, and for how long still standing."""

    def __init__(self, person: Person, mocap: int) -> None:
        self._person = person
        self._mocap = mocap
        x, y, _ = person.item.position
        self._length = math.hypot(person.end[0] - x, person.end[1] - y)
        self._ahead = ((person.end[0] - x) / self._length, (person.end[1] - y) / self._length)
        self._along = 0.0
        self._direction = 1.0
        self._standing_s = 0.0
        self._velocity = 0.0
        self._made_way = False

    def update(self, step_s: float, robot: tuple[float, float]) -> None:
        self._velocity = 0.0
        if self._standing_s > 0.0:
            self._standing_s -= step_s
            return
        stride = self._direction * self._person.speed_m_s
        ahead = min(max(self._along + stride * step_s, 0.0), self._length)
        here, there = (math.dist(self._at(s), robot) for s in (self._along, ahead))
        if there < min(here, PERSONAL_SPACE_M):
            self._made_way = True
            self._turn(1.0)
            return
        self._velocity = stride
        self._along = ahead
        if ahead in (0.0, self._length):
            self._turn(PATIENCE_S if self._made_way else self._person.pause_s)
            self._made_way = False

    def _turn(self, pause_s: float) -> None:
        self._direction = -self._direction
        self._standing_s = pause_s

    def _at(self, along: float) -> tuple[float, float]:
        x, y, _ = self._person.item.position
        return x + along * self._ahead[0], y + along * self._ahead[1]

    def _yaw(self) -> float:
        return math.atan2(self._direction * self._ahead[1], self._direction * self._ahead[0])

    def place(self, data: mujoco.MjData) -> None:
        x, y = self._at(self._along)
        qx, qy, qz, qw = from_yaw(self._yaw())
        data.mocap_pos[self._mocap] = (x, y, 0.0)
        data.mocap_quat[self._mocap] = (qw, qx, qy, qz)

    def seen(self) -> SceneObject:
        x, y = self._at(self._along)
        item = self._person.item
        return SceneObject(
            item.id,
            item.class_name,
            Pose((x, y, item.size[2] / 2.0), from_yaw(self._yaw())),
            item.size,
            velocity=(self._velocity * self._ahead[0], self._velocity * self._ahead[1], 0.0),
        )
