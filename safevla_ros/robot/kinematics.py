"""Where a robot's links are: forward kinematics and link hulls from its URDF, on Pinocchio."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safevla_ros.robot.state import Capsule, Joint, Pose


class KinematicsError(ValueError):
    """A URDF that cannot be used, or a joint reading that lacks a joint."""


class Kinematics:
    """A robot's body from its URDF."""

    joint_names: tuple[str, ...]
    """The joints whose readings are needed."""

    def __init__(self, urdf_path: str | Path) -> None:
        raise NotImplementedError

    def capsules(self, base: Pose, joints: Mapping[str, Joint]) -> tuple[Capsule, ...]:
        """Hulls of all links, in the frame of `base`'s pose."""
        raise NotImplementedError

    def link_pose(self, name: str, base: Pose, joints: Mapping[str, Joint]) -> Pose:
        """Pose of one link in the frame of `base`'s pose."""
        raise NotImplementedError
