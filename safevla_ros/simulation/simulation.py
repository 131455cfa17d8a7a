"""The simulated world: a robot in a home, stepped by MuJoCo, read and commanded as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from safevla_ros.policy.interface import Instruction
from safevla_ros.robot.profile import Profile
from safevla_ros.robot.state import (
    BaseVelocity,
    Command,
    Contact,
    Joint,
    Localisation,
    Odometry,
    SceneObjects,
)
from safevla_ros.simulation.scenario import Scenario

if TYPE_CHECKING:
    from safevla_ros.robot.messages import LaserScan


class Outcome(Enum):
    """Verdict on the scenario's task; names are those of the Episode message's constants."""

    SUCCESS = auto()
    FAILURE = auto()


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One camera frame: rgb (H, W, 3) uint8, depth (H, W) float32 along the optical axis [m, inf:
    nothing], geom (H, W) int32 MuJoCo geom ids (-1: nothing)."""

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    geom: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """Pinhole calibration: frame, size [px], focal lengths and principal point [px]."""

    frame: str
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float


class Simulation:
    """A scenario being simulated. Not thread-safe."""

    scenario: Scenario
    profile: Profile

    def __init__(self, scenario: Scenario, profile: Profile | None = None) -> None:
        """Build the world. `profile`: the robot's limits and cameras; default: the sim robot's."""
        raise NotImplementedError

    def reset(self, scenario: Scenario | None = None) -> None:
        """Start anew, in another scenario if one is given. Time starts at 0 again."""
        raise NotImplementedError

    @property
    def time_s(self) -> float:
        """Simulated time since the last reset."""
        raise NotImplementedError

    @property
    def object_in_hand(self) -> bool:
        """Whether the gripper holds something."""
        raise NotImplementedError

    @property
    def robot_description(self) -> str:
        """Text of the robot's URDF."""
        raise NotImplementedError

    def instruction(self) -> Instruction:
        """What the scenario asks for, with the target's ids (privileged)."""
        raise NotImplementedError

    def apply(self, command: Command) -> None:
        """Command base and joints together; the base obeys for `duration_s` and the driver's
        timeout at most."""
        raise NotImplementedError

    def drive(self, velocity: BaseVelocity) -> None:
        """Command the base alone (a Twist); it stops by itself after the driver's timeout."""
        raise NotImplementedError

    def move_joints(self, targets: Mapping[str, float]) -> None:
        """Command joints alone: absolute targets by name; the others keep theirs. KeyError names
        an unknown joint."""
        raise NotImplementedError

    def advance(self, duration_s: float) -> None:
        """Let simulated time pass."""
        raise NotImplementedError

    def joints(self) -> dict[str, Joint]:
        """Readings of the profile's joints, with efforts."""
        raise NotImplementedError

    def odometry(self) -> Odometry:
        """Pose since the start in frame odom, velocity in the base frame."""
        raise NotImplementedError

    def localisation(self) -> Localisation:
        """True pose in frame map."""
        raise NotImplementedError

    def objects(self) -> SceneObjects:
        """Everything in the home, in frame map (complete), furniture and walls as fixed boxes."""
        raise NotImplementedError

    def contacts(self) -> tuple[Contact, ...]:
        """Contacts since the last call, in frame map: robot links with things, and what the held
        object touches. One per pair, with the largest force, so that nothing brief is lost."""
        raise NotImplementedError

    def scan(self) -> LaserScan:
        """The 2D lidar's scan, in the lidar's frame; the robot itself is not seen."""
        raise NotImplementedError

    def render(self, camera: str, width: int, height: int) -> NDArray[np.uint8]:
        """Image (height, width, 3) of a camera of the profile. KeyError names an unknown one."""
        return self.look(camera, width, height).rgb

    def look(self, camera: str, width: int, height: int) -> View:
        """Image, depth and geom ids of a camera of the profile."""
        raise NotImplementedError

    def camera_info(self, camera: str, width: int, height: int) -> CameraInfo:
        """Calibration of a camera of the profile at that size."""
        raise NotImplementedError

    def declare_end(self) -> None:
        """The policy says that it is done: the outcome is decided now, for good."""
        raise NotImplementedError

    def outcome(self) -> tuple[Outcome | None, str]:
        """The verdict and its reason; None while undecided (neither declared nor out of time)."""
        raise NotImplementedError
