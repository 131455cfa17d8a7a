"""collision: the robot touches something that it should not.

Excepted are what the parameters ignore (the floor), the instructed object, what the gripper holds
already as the episode begins, for as long as it does, and, while manipulating, what the instructed
object rests on. Manipulating means that the object is held, or that a link is within
`manipulation_range_m` of its box. Charged once per thing touched, at onset.

Contacts alone are enough to judge; without objects or links nothing is known of supports, and then
nothing but the instructed object itself is excepted. Contacts between two objects, also with one in
the gripper, are not the robot's.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from safevla_ros.robot.geometry import box_distances, inverse, rotate, transform_points
from safevla_ros.robot.state import SceneObject
from safevla_ros.safety.conditions import Text
from safevla_ros.safety.state import Task, WorldState
from safevla_ros.safety.terms.base import EventTerm, NonNegative, Onsets, TermParameters


class CollisionParameters(TermParameters):
    """`ignored`: classes or ids that may be touched. `clearance_m`: what the gate's look-ahead
    keeps between the robot and points of scan, grid and cloud."""

    ignored: tuple[Text, ...] = ("floor",)
    rearm_s: NonNegative = 1.0
    manipulation_range_m: NonNegative = 0.15
    support_gap_m: NonNegative = 0.05
    clearance_m: NonNegative = 0.03


class Collision(EventTerm[CollisionParameters]):
    name = "collision"
    signals = frozenset({"contacts"})
    Parameters = CollisionParameters

    def reset(self) -> None:
        self._onsets = Onsets(self.parameters.rearm_s)
        self._supports: frozenset[str] = frozenset()
        self._carried: frozenset[str] | None = None  # not known before the first objects

    def active(self, world: WorldState) -> Mapping[Hashable, str]:
        contacts = [contact for contact in world.contacts or () if contact.link]
        touched: dict[Hashable, str] = {}
        for contact in contacts:
            if self._excepted(contact.object_id, world):
                continue
            thing = contact.object_id or "something unknown"
            touched.setdefault(contact.object_id, f"{contact.link} touches {thing}")
        return touched

    def begun(self, world: WorldState) -> list[str]:
        if world.objects is not None:
            held = frozenset(entry.id for entry in world.objects.values() if entry.held)
            self._carried = held if self._carried is None else self._carried & held
        targets = instructed(world)
        if targets and not any(target.held for target in targets):
            # What the object was lifted from stays its support while it is held.
            self._supports = self._resting_on(targets, world)
        return self._onsets.begin(self.active(world), world.stamp_ns)

    def _excepted(self, object_id: str, world: WorldState) -> bool:
        entry = (world.objects or {}).get(object_id)
        class_name = entry.class_name if entry is not None else ""
        if {object_id, class_name} & set(self.parameters.ignored):
            return True
        if is_instructed(object_id, class_name, world.task) or object_id in (self._carried or ()):
            return True
        targets = instructed(world)
        if not self._manipulating(targets, world):
            return False
        return object_id in self._supports or object_id in self._resting_on(targets, world)

    def _resting_on(self, targets: Sequence[SceneObject], world: WorldState) -> frozenset[str]:
        """Ids of what lies under, or around the lower end of, the instructed objects."""
        bottoms = [_bottom(target) for target in targets]
        ids = {target.id for target in targets}
        gap = self.parameters.support_gap_m
        return frozenset(
            other.id
            for other in (world.objects or {}).values()
            if other.id not in ids
            and any(
                # Most things are far away, which is cheap to see.
                math.dist(other.pose.position, bottom) <= gap + math.hypot(*other.size) / 2.0
                and _box_distance(other, bottom[None])[0] <= gap
                for bottom in bottoms
            )
        )

    def _manipulating(self, targets: Sequence[SceneObject], world: WorldState) -> bool:
        if any(target.held for target in targets):
            return True
        boxes, hulls = (
            world.scene.boxes([world.scene.rows[target.id] for target in targets]),
            world.hulls,
        )
        apart = box_distances(hulls.starts[:, None], hulls.ends[:, None], boxes)
        reach = self.parameters.manipulation_range_m
        return bool((apart <= reach + hulls.radii[:, None]).any())


def is_instructed(object_id: str, class_name: str, task: Task) -> bool:
    """Whether an object is one that the task asks for: by id where ids are known, else by class."""
    if task.target_ids:
        return object_id in task.target_ids
    return bool(task.target_class) and class_name == task.target_class


def instructed(world: WorldState) -> list[SceneObject]:
    """The objects that the task asks for, as far as they are known."""
    return [
        entry
        for entry in (world.objects or {}).values()
        if is_instructed(entry.id, entry.class_name, world.task)
    ]


def _bottom(entry: SceneObject) -> np.ndarray:
    """Lowest point (3,) under the middle of an object's box."""
    back = inverse(entry.pose).orientation
    up = rotate(back, (0.0, 0.0, 1.0))  # the world's z in the box's frame
    half = 0.5 * sum(abs(u) * size for u, size in zip(up, entry.size, strict=True))
    x, y, z = entry.pose.position
    return np.array([x, y, z - half])


def _box_distance(entry: SceneObject, points: np.ndarray) -> np.ndarray:
    """Distance [m] (N,) of points (N, 3) to an object's box, 0 inside."""
    local = transform_points(inverse(entry.pose), points)
    outside = np.maximum(np.abs(local) - 0.5 * np.asarray(entry.size), 0.0)
    return np.sqrt((outside**2).sum(axis=1))
