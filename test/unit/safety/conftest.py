"""World states, profiles and specifications for the tests of the safety package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from safevla_ros.robot.geometry import planar
from safevla_ros.robot.profile import Profile, load_profile
from safevla_ros.robot.state import (
    NANOSECONDS,
    BaseVelocity,
    Capsule,
    Contact,
    Joint,
    Pose,
    SceneObject,
)
from safevla_ros.safety import Specification, Task, WorldState, load_specification

JOINTS = {"lift": 0.5, "arm": 0.1, "wrist_yaw": 0.0, "gripper": 0.05}
MakeWorld = Callable[..., WorldState]


@pytest.fixture(scope="session")
def profile() -> Profile:
    return load_profile("sim")


@pytest.fixture(scope="session")
def household() -> Specification:
    return load_specification("household")


@pytest.fixture
def make_world() -> MakeWorld:
    """A world in which all signals are there, at `time_s`: a robot alone on an empty floor.
    Keywords replace fields; `x`, `y`, `yaw` place the base and a mast-like link on it."""

    def make(
        time_s: float = 10.0, x: float = 0.0, y: float = 0.0, yaw: float = 0.0, **fields: Any
    ) -> WorldState:
        stamp_ns = round(time_s * NANOSECONDS)
        signals = ("joint_states", "odometry", "localisation", "scan", "objects", "contacts")
        known = {
            "stamp_ns": stamp_ns,
            "frame": "map",
            "base": planar(x, y, yaw),
            "velocity": BaseVelocity(),
            "joints": {name: Joint(value, 0.0) for name, value in JOINTS.items()},
            "links": (Capsule("mast", (x, y, 0.1), (x, y, 1.0), 0.1),),
            "objects": {},
            "contacts": (),
            "obstacles": np.empty((0, 3)),
            "sources": dict.fromkeys(signals, stamp_ns),
        }
        return WorldState(**{**known, **fields})

    return make


@pytest.fixture
def make_object() -> Callable[..., SceneObject]:
    """An object: a box centred at (x, y, z), 0.1 m wide unless `size` says otherwise."""

    def make(
        name: str,
        x: float,
        y: float,
        z: float,
        *,
        size: tuple[float, float, float] = (0.1, 0.1, 0.1),
        class_name: str = "",
        held: bool = False,
    ) -> SceneObject:
        pose = Pose((x, y, z))
        return SceneObject(name, class_name or name.rstrip("_0123456789"), pose, size, held=held)

    return make


@pytest.fixture
def touch() -> Callable[[str, str], Contact]:
    """A contact of a robot link with an object: (link, object id)."""
    return Contact


@pytest.fixture
def mug_task() -> Task:
    return Task(target_ids=("mug_1",), target_class="mug", task="pick_up")
