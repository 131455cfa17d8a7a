"""The world as cost terms and the gate see it, and the one place where signals become it.

Monitor, simulator and bag reader all feed plain readings into `Signals` and ask `WorldAssembler`
for a `WorldState`. That they share this code is what makes their costs equal. A world state is a
pure function of the latest message of each signal, so a bag that names those messages by their
stamps can rebuild it; nothing else is remembered between two of them.

The world frame is the profile's `map` when the robot has a localisation signal, else its `odom`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from safevla_ros.robot.profile import Profile
from safevla_ros.robot.state import BaseVelocity, Capsule, Contact, Joint, Pose, SceneObject


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
    task: Task = Task()
    release_commanded: bool = False
    sources: Mapping[str, int] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


class Signals:
    """The latest reading of each of the robot's signals, by its name in the profile."""

    def update(self, name: str, stamp_ns: int, value: Any) -> bool:
        """Keep a reading (a type of `robot.state`, as `robot.messages.read_signal` makes it).

        False: it is older than the one that is kept, and was dropped.
        """
        raise NotImplementedError

    def clear(self) -> None:
        """Forget everything, as after a jump of the clock."""
        raise NotImplementedError


class WorldAssembler:
    """Turns signals into world states. `kinematics` None: links and obstacles stay unknown."""

    def __init__(self, profile: Profile, kinematics: KinematicModel | None) -> None:
        raise NotImplementedError

    def assemble(
        self,
        signals: Signals,
        stamp_ns: int,
        task: Task = Task(),
        release_commanded: bool = False,
    ) -> WorldState:
        """The world at `stamp_ns` (the odometry's stamp, when a step is sampled).

        A signal that never came, is older than the profile's `max_age_s` at `stamp_ns`, or is
        given in a frame that cannot be reached leaves its fields None.
        """
        raise NotImplementedError
