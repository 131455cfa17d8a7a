"""From where the robot can take a thing: base poses that put it in reach of the sideways arm.

The figures follow sim/models/stretch_like.urdf; a test holds them against its kinematics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from safevla_ros.robot.state import Vector3
from safevla_ros.simulation.grid import Grid
from safevla_ros.simulation.solids import Solids

WRIST_X = 0.03
"""The wrist's axis is this far in front of the base's centre [m]."""
WRIST_Y = -0.17
"""and this far to its left when the arm is retracted [m]."""
GRASP_LENGTH = 0.23
"""From the wrist's axis to the grasp centre [m]."""
GRASP_HEIGHT = 0.20
"""Height of the grasp centre when the lift is at 0 [m]."""
ARM_RANGE = 0.52
LIFT_RANGE = 1.1
FOLDED_WRIST = math.radians(160.0)
"""Wrist angle at which the gripper lies above the base [rad]."""
FORWARD_WRIST = math.radians(90.0)
BASE_RADIUS = 0.25
"""All of the robot is within this circle when its wrist is folded [m]."""

NEAR, FAR = 0.54, 0.80
"""Distances from the base's centre at which things are taken [m]: nearer ones would be swept by
the gripper when it unfolds, farther ones leave no arm to spare."""

MARGIN = 0.02
"""Least distance of gripper and arm from what they pass [m]."""


def grasp_center(arm: float, wrist: float, lift: float) -> Vector3:
    """The grasp centre in the base frame [m], for joint positions."""
    return (
        WRIST_X + GRASP_LENGTH * math.sin(wrist),
        WRIST_Y - arm - GRASP_LENGTH * math.cos(wrist),
        GRASP_HEIGHT + lift,
    )


@dataclass(frozen=True, slots=True)
class Standoff:
    """A base pose in the map from which the arm reaches the target straight to the right."""

    x: float
    y: float
    yaw: float
    clearance: float


def facing_yaw(x: float, y: float, target: Vector3) -> float:
    """Heading at (x, y) that puts the target on the line of the extended arm [rad]."""
    distance = max(math.hypot(target[0] - x, target[1] - y), 1e-6)
    in_base = math.acos(min(WRIST_X / distance, 1.0))
    return math.atan2(target[1] - y, target[0] - x) + in_base


def standoffs(
    target: Vector3,
    grid: Grid,
    solids: Solids,
    clearance: float = BASE_RADIUS,
    margin: float = MARGIN,
) -> list[Standoff]:
    """Base poses from which the gripper gets to `target` (the point to close the fingers at).

    `solids`: everything that the arm must not come nearer to than `margin`, without the target
    itself. `clearance`: of the base's centre [m].
    """
    near = np.hypot(*(solids.centers[:, :2] - np.array(target[:2])).T) < 1.6 + np.hypot(
        *solids.halves[:, :2].T
    )
    close_by = solids.without(*set(solids.ids[~near]) - set(solids.ids[near]))
    found = []
    for distance in np.arange(NEAR, FAR + 1e-6, 0.06):
        for bearing in np.arange(0.0, 2.0 * math.pi, math.pi / 20.0):
            x = target[0] - float(distance) * math.cos(bearing)
            y = target[1] - float(distance) * math.sin(bearing)
            room = grid.clearance_at(x, y)
            if room < clearance:
                continue
            yaw = facing_yaw(x, y, target)
            if not close_by.contain(_swept(x, y, yaw, target), margin).any():
                found.append(Standoff(x, y, yaw, room))
    return found


def reaches(x: float, y: float, target: Vector3, solids: Solids, margin: float) -> bool:
    """Whether the arm gets to `target` from a base at (x, y), that far from `solids` [m]."""
    yaw = facing_yaw(x, y, target)
    return not solids.contain(_swept(x, y, yaw, target), margin).any()


def _swept(x: float, y: float, yaw: float, target: Vector3) -> np.ndarray:
    """(P, 3) points that gripper and arm pass when they unfold and reach out from a base pose."""
    reach = math.hypot(target[0] - x, target[1] - y)
    local = []
    for along in np.arange(0.24, reach + 0.06, 0.04):
        local += [(WRIST_X + side, -along, target[2] - 0.02) for side in (-0.10, -0.05, 0.05, 0.10)]
        local.append((WRIST_X - 0.04, -along, target[2] + 0.09))
    for wrist in np.radians((30.0, 60.0, 90.0, 120.0)):
        local += [
            (WRIST_X + r * math.sin(wrist), WRIST_Y - r * math.cos(wrist), target[2] + dz)
            for r in (0.14, 0.29)
            for dz in (-0.02, 0.02)
        ]
    points = np.array(local)
    c, s = math.cos(yaw), math.sin(yaw)
    return np.column_stack(
        [
            x + c * points[:, 0] - s * points[:, 1],
            y + s * points[:, 0] + c * points[:, 1],
            points[:, 2],
        ]
    )
