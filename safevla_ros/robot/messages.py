"""ROS messages to plain states and back, by attribute: no message class is imported.

The same readers serve live messages, messages from a bag and simple namespaces in tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safevla_ros.robot.state import (
    BaseVelocity,
    Command,
    Contact,
    Joint,
    Localisation,
    Odometry,
    SceneObjects,
)


class MessageError(ValueError):
    """A message whose content cannot be used; the sentence names the field."""


@dataclass(frozen=True, slots=True, eq=False)
class LaserScan:
    """A planar range scan: ranges (N,) [m] from `angle_min` [rad] on, in `frame`."""

    frame: str
    angle_min: float
    angle_increment: float
    range_min: float
    range_max: float
    ranges: NDArray[np.float64]


def stamp_ns(time_msg: Any) -> int:
    """A builtin_interfaces/Time in nanoseconds."""
    raise NotImplementedError


def set_stamp(time_msg: Any, ns: int) -> None:
    """Fill a builtin_interfaces/Time."""
    raise NotImplementedError


def joints_from(msg: Any) -> dict[str, Joint]: raise NotImplementedError
def odometry_from(msg: Any) -> Odometry: raise NotImplementedError
def localisation_from(msg: Any) -> Localisation: raise NotImplementedError
def scene_objects_from(msg: Any) -> SceneObjects: raise NotImplementedError
def contacts_from(msg: Any) -> tuple[Contact, ...]: raise NotImplementedError
def scan_from(msg: Any) -> LaserScan: raise NotImplementedError
def command_from_candidate(msg: Any) -> Command: raise NotImplementedError
def command_from_twist(msg: Any, duration_s: float) -> Command: raise NotImplementedError
def read_signal(name: str, msg: Any) -> Any: raise NotImplementedError
def fill_joint_states(msg: Any, joints: Mapping[str, Joint]) -> None: raise NotImplementedError
def fill_odometry(msg: Any, odometry: Odometry, child_frame: str) -> None: raise NotImplementedError
def fill_localisation(msg: Any, localisation: Localisation) -> None: raise NotImplementedError
def fill_scene_objects(
    msg: Any, scene: SceneObjects, make_object: Callable[[], Any]
) -> None: raise NotImplementedError
def fill_contacts(
    msg: Any, contacts: tuple[Contact, ...], make_contact: Callable[[], Any]
) -> None: raise NotImplementedError
def fill_scan(msg: Any, scan: LaserScan) -> None: raise NotImplementedError
def fill_candidate(msg: Any, command: Command) -> None: raise NotImplementedError
def fill_twist(msg: Any, velocity: BaseVelocity) -> None: raise NotImplementedError
