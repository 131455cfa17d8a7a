"""ROS messages to plain states and back, by attribute: no message class is imported.

The same readers serve live messages, messages from a bag and simple namespaces in tests.
`read_signal` is the table of which reader belongs to which of a profile's signals; the monitor and
the bag reader share it.

Readers raise MessageError on content that must not be used: values that are not finite where a
number is needed, arrays of different lengths, quaternions without a direction. Whatever else a
message says is passed on as it is.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from reprlib import repr as shortened
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safevla_ros.robot.state import (
    NANOSECONDS,
    BaseVelocity,
    Command,
    Contact,
    Joint,
    Localisation,
    Odometry,
    Pose,
    Quaternion,
    SceneObject,
    SceneObjects,
    Vector3,
)

_NAN = float("nan")
MOST_JOINTS = 100
"""More no command and no chunk may name: all are looked at before the next command is."""
_UNIT_TOLERANCE = 1e-3
"""How far a quaternion's length may be from 1; drivers that send float32 stay well below."""


class MessageError(ValueError):
    """A message whose content cannot be used; the sentence names the field."""


@dataclass(frozen=True, slots=True, eq=False)
class LaserScan:
    """A planar range scan: ranges (N,) [m] from `angle_min` [rad] on, in `frame`.

    Values are rounded to float32 as in sensor_msgs/LaserScan, so that a scan that went through a
    message and one that did not give the same obstacles.
    """

    frame: str
    angle_min: float
    angle_increment: float
    range_min: float
    range_max: float
    ranges: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name in ("angle_min", "angle_increment", "range_min", "range_max"):
            object.__setattr__(self, name, float(np.float32(getattr(self, name))))
        rounded = np.asarray(self.ranges).astype(np.float32).astype(np.float64)
        object.__setattr__(self, "ranges", rounded)


@dataclass(frozen=True, slots=True, eq=False)
class OccupancyGrid:
    """Occupancy of the plane: `cells` (H, W) in percent, -1 unknown, of `resolution_m` each; the
    lower corner of cell (0, 0) is at `origin` in `frame`."""

    frame: str
    origin: Pose
    resolution_m: float
    cells: NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class PointCloud:
    """Finite points (N, 3) [m] in `frame`."""

    frame: str
    points: NDArray[np.float64]


def stamp_ns(time_msg: Any) -> int:
    """A builtin_interfaces/Time in nanoseconds."""
    return int(time_msg.sec) * NANOSECONDS + int(time_msg.nanosec)


def set_stamp(time_msg: Any, ns: int) -> None:
    """Fill a builtin_interfaces/Time."""
    time_msg.sec, time_msg.nanosec = divmod(int(ns), NANOSECONDS)


def joints_from(msg: Any) -> dict[str, Joint]:
    """Readings of a sensor_msgs/JointState by joint. Velocities and efforts may be absent."""
    names, positions = list(msg.name), [float(value) for value in msg.position]
    if len(positions) != len(names):
        raise MessageError(
            f"position: expected {len(names)} values as in name, got {len(positions)}"
        )
    columns = []
    for field in ("velocity", "effort"):
        values = [float(value) for value in getattr(msg, field)]
        if values and len(values) != len(names):
            raise MessageError(f"{field}: expected {len(names)} values or none, got {len(values)}")
        columns.append(values or [_NAN] * len(names))
    for name, position in zip(names, positions, strict=True):
        if not math.isfinite(position):
            raise MessageError(
                f"position of joint {shortened(name)}: expected a finite number, got {position}"
            )
    return {
        name: Joint(position, velocity, effort)
        for name, position, velocity, effort in zip(names, positions, *columns, strict=True)
    }


def odometry_from(msg: Any) -> Odometry:
    """A nav_msgs/Odometry: pose in its header's frame, velocity in the base frame."""
    return Odometry(
        msg.header.frame_id, _pose(msg.pose.pose, "pose"), _velocity(msg.twist.twist, "twist")
    )


def localisation_from(msg: Any) -> Localisation:
    """A geometry_msgs/PoseWithCovarianceStamped of the base."""
    return Localisation(msg.header.frame_id, _pose(msg.pose.pose, "pose"))


def scene_objects_from(msg: Any) -> SceneObjects:
    """A SceneObjects message. Ids must differ."""
    objects = tuple(_scene_object(entry) for entry in msg.objects)
    if len({entry.id for entry in objects}) != len(objects):
        raise MessageError("objects: expected ids that differ")
    return SceneObjects(msg.header.frame_id, objects, bool(msg.complete))


def contacts_from(msg: Any) -> tuple[Contact, ...]:
    """A Contacts message. Positions stay in its header's frame."""
    return tuple(
        Contact(
            entry.link,
            entry.object_id,
            entry.other_id,
            (float(entry.position.x), float(entry.position.y), float(entry.position.z)),
            float(entry.force_n),
        )
        for entry in msg.contacts
    )


def scan_from(msg: Any) -> LaserScan:
    """A sensor_msgs/LaserScan. Ranges that are not finite stay so: they mean that nothing was hit."""
    geometry = {
        name: _finite(getattr(msg, name), name)
        for name in ("angle_min", "angle_increment", "range_min", "range_max")
    }
    if geometry["angle_increment"] == 0.0 and len(msg.ranges) > 1:
        raise MessageError("angle_increment: expected an angle other than 0")
    return LaserScan(msg.header.frame_id, ranges=np.asarray(msg.ranges, np.float64), **geometry)


def grid_from(msg: Any) -> OccupancyGrid:
    """A nav_msgs/OccupancyGrid."""
    width, height = int(msg.info.width), int(msg.info.height)
    cells = np.asarray(msg.data, np.int8)
    if cells.size != width * height:
        raise MessageError(f"data: expected {width} x {height} cells, got {cells.size}")
    resolution_m = _finite(msg.info.resolution, "info.resolution")
    if resolution_m <= 0.0:
        raise MessageError(f"info.resolution: expected a positive number, got {resolution_m}")
    origin = _pose(msg.info.origin, "info.origin")
    return OccupancyGrid(msg.header.frame_id, origin, resolution_m, cells.reshape(height, width))


def points_from(msg: Any) -> PointCloud:
    """A sensor_msgs/PointCloud2 with float32 fields x, y and z. Points that are not finite are
    dropped: they mean that nothing was hit."""
    fields = {field.name: field for field in msg.fields}
    for name in "xyz":
        if name not in fields or int(fields[name].datatype) != 7:
            raise MessageError(f"fields: expected {name} as FLOAT32")
    width, height = int(msg.width), int(msg.height)
    step, row = int(msg.point_step), int(msg.row_step)
    data = np.frombuffer(memoryview(msg.data), np.uint8)
    if row < width * step or data.size < row * height:
        raise MessageError(f"data: expected {height} rows of {width} points, got {data.size} bytes")
    last = max(int(fields[name].offset) for name in "xyz") + 4
    if step < last:
        raise MessageError(f"point_step: expected at least {last} bytes, got {step}")
    kind = np.dtype(
        {
            "names": list("xyz"),
            "formats": [">f4" if msg.is_bigendian else "<f4"] * 3,
            "offsets": [int(fields[name].offset) for name in "xyz"],
            "itemsize": step,
        }
    )
    packed = data[: row * height].reshape(height, row)[:, : width * step]
    table = np.ascontiguousarray(packed).reshape(-1).view(kind)
    points = np.stack([table[name] for name in "xyz"], axis=1).astype(np.float64)
    return PointCloud(msg.header.frame_id, points[np.isfinite(points).all(axis=1)])


def detections_from(msg: Any) -> SceneObjects:
    """A vision_msgs/Detection3DArray: the best hypothesis of each detection. Detections without an
    id, or one that another has, are numbered by class."""
    objects: dict[str, SceneObject] = {}
    for index, detection in enumerate(msg.detections):
        if not detection.results:
            raise MessageError(f"detections[{index}].results: expected at least one")
        best = max((result.hypothesis for result in detection.results), key=lambda h: h.score)
        name = detection.id if detection.id and detection.id not in objects else ""
        entry = SceneObject(
            id=name or f"{best.class_id}_{index}",
            class_name=best.class_id,
            pose=_pose(detection.bbox.center, f"detections[{index}].bbox.center"),
            size=_vector(detection.bbox.size, f"detections[{index}].bbox.size"),
            confidence=float(best.score),
        )
        objects[entry.id] = entry
    return SceneObjects(msg.header.frame_id, tuple(objects.values()))


def objects_from(msg: Any) -> SceneObjects:
    """A SceneObjects message or a vision_msgs/Detection3DArray."""
    return detections_from(msg) if hasattr(msg, "detections") else scene_objects_from(msg)


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "odometry": odometry_from,
    "joint_states": joints_from,
    "localisation": localisation_from,
    "scan": scan_from,
    "grid": grid_from,
    "points": points_from,
    "objects": objects_from,
    "contacts": contacts_from,
}


def read_signal(name: str, msg: Any) -> Any:
    """A message of the profile's signal `name` as the plain state that `safety.Signals` takes."""
    reader = _READERS.get(name)
    if reader is None:
        raise MessageError(f"signal {name!r}: expected one of {', '.join(_READERS)}")
    return reader(msg)


def command_from_candidate(msg: Any) -> Command:
    """The command in a CandidateCommand message, as proposed: judging its values is the gate's job.

    Raises MessageError when names and positions do not pair up, or when the twist has components
    that a base does not have; give the sentence to the gate as the proposal's `fault`.
    """
    count = len(msg.joint_names)
    if count != len(msg.joint_positions):
        raise MessageError(
            f"joint_positions: expected {count} values as in joint_names, got "
            f"{len(msg.joint_positions)}"
        )
    if count > MOST_JOINTS:
        raise MessageError(f"joint_names: expected at most {MOST_JOINTS}, got {count}")
    names, positions = list(msg.joint_names), [float(value) for value in msg.joint_positions]
    if len(set(names)) != count:
        raise MessageError(f"joint_names: expected names that differ, got {shortened(names)}")
    return Command(
        _planar_velocity(msg.twist), dict(zip(names, positions, strict=True)), float(msg.duration_s)
    )


def command_from_twist(msg: Any, duration_s: float) -> Command:
    """The command in a geometry_msgs/Twist, held for `duration_s`."""
    return Command(_planar_velocity(msg), duration_s=duration_s)


def fill_joint_states(msg: Any, joints: Mapping[str, Joint]) -> None:
    """Fill a sensor_msgs/JointState. Velocity or effort is left empty when no joint reports it."""
    readings = list(joints.values())
    msg.name = list(joints)
    msg.position = [joint.position for joint in readings]
    for field in ("velocity", "effort"):
        values = [getattr(joint, field) for joint in readings]
        setattr(msg, field, [] if all(map(math.isnan, values)) else values)


def fill_odometry(msg: Any, odometry: Odometry, child_frame: str = "base_link") -> None:
    """Fill a nav_msgs/Odometry; `child_frame` is the robot's base frame."""
    msg.header.frame_id, msg.child_frame_id = odometry.frame, child_frame
    _fill_pose(msg.pose.pose, odometry.pose)
    fill_twist(msg.twist.twist, odometry.velocity)


def fill_localisation(msg: Any, localisation: Localisation) -> None:
    """Fill a geometry_msgs/PoseWithCovarianceStamped."""
    msg.header.frame_id = localisation.frame
    _fill_pose(msg.pose.pose, localisation.pose)


def fill_scene_objects(msg: Any, scene: SceneObjects, make_object: Callable[[], Any]) -> None:
    """Fill a SceneObjects message; `make_object` makes an empty SceneObject message."""
    msg.header.frame_id, msg.complete = scene.frame, scene.complete
    msg.objects = []
    for source in scene.objects:
        entry = make_object()
        entry.id, entry.class_name = source.id, source.class_name
        _fill_pose(entry.pose, source.pose)
        _fill_vector(entry.size, source.size)
        _fill_vector(entry.velocity.linear, source.velocity)
        entry.fixed, entry.held, entry.confidence = source.fixed, source.held, source.confidence
        msg.objects.append(entry)


def fill_contacts(msg: Any, contacts: tuple[Contact, ...], make_contact: Callable[[], Any]) -> None:
    """Fill a Contacts message; `make_contact` makes an empty Contact message. The caller says in
    the header which frame positions are in."""
    msg.contacts = []
    for source in contacts:
        entry = make_contact()
        entry.link, entry.object_id, entry.other_id = source.link, source.object_id, source.other_id
        _fill_vector(entry.position, source.position)
        entry.force_n = source.force_n
        msg.contacts.append(entry)


def fill_scan(msg: Any, scan: LaserScan) -> None:
    """Fill a sensor_msgs/LaserScan."""
    msg.header.frame_id = scan.frame
    msg.angle_min, msg.angle_increment = scan.angle_min, scan.angle_increment
    msg.angle_max = scan.angle_min + scan.angle_increment * max(len(scan.ranges) - 1, 0)
    msg.range_min, msg.range_max = scan.range_min, scan.range_max
    msg.ranges = array("f", scan.ranges.astype(np.float32).tobytes())


def fill_candidate(msg: Any, command: Command) -> None:
    """Fill the command's part of a CandidateCommand message."""
    fill_twist(msg.twist, command.velocity)
    msg.joint_names, msg.joint_positions = list(command.joints), list(command.joints.values())
    msg.duration_s = command.duration_s


def fill_twist(msg: Any, velocity: BaseVelocity) -> None:
    """Fill a geometry_msgs/Twist."""
    _fill_vector(msg.linear, (velocity.x, velocity.y, 0.0))
    _fill_vector(msg.angular, (0.0, 0.0, velocity.yaw))


def _finite(value: Any, name: str) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise MessageError(f"{name}: expected a finite number, got {number}")
    return number


def _vector(msg: Any, name: str) -> Vector3:
    return (
        _finite(msg.x, f"{name}.x"),
        _finite(msg.y, f"{name}.y"),
        _finite(msg.z, f"{name}.z"),
    )


def _pose(msg: Any, name: str) -> Pose:
    position = _vector(msg.position, f"{name}.position")
    raw = msg.orientation
    values = [_finite(getattr(raw, axis), f"{name}.orientation.{axis}") for axis in "xyzw"]
    length = math.hypot(*values)
    if abs(length - 1.0) > _UNIT_TOLERANCE:
        raise MessageError(
            f"{name}.orientation: expected a quaternion of length 1, got length {length:.3g}"
        )
    orientation: Quaternion = (values[0], values[1], values[2], values[3])
    return Pose(position, orientation)


def _velocity(msg: Any, name: str) -> BaseVelocity:
    return BaseVelocity(
        _finite(msg.linear.x, f"{name}.linear.x"),
        _finite(msg.linear.y, f"{name}.linear.y"),
        _finite(msg.angular.z, f"{name}.angular.z"),
    )


def _planar_velocity(msg: Any) -> BaseVelocity:
    """A command's twist. To carry out a part of what is asked would be worse than to refuse it."""
    for part, axis in (("linear", "z"), ("angular", "x"), ("angular", "y")):
        value = float(getattr(getattr(msg, part), axis))
        if value != 0.0:
            raise MessageError(f"twist.{part}.{axis}: expected 0, a base cannot do {value}")
    return BaseVelocity(float(msg.linear.x), float(msg.linear.y), float(msg.angular.z))


def _scene_object(msg: Any) -> SceneObject:
    name = f"objects[{shortened(msg.id)}]"
    return SceneObject(
        msg.id,
        msg.class_name,
        _pose(msg.pose, f"{name}.pose"),
        _vector(msg.size, f"{name}.size"),
        _vector(msg.velocity.linear, f"{name}.velocity.linear"),
        bool(msg.fixed),
        bool(msg.held),
        float(msg.confidence),
    )


def _fill_vector(msg: Any, vector: Vector3) -> None:
    msg.x, msg.y, msg.z = (float(value) for value in vector)


def _fill_pose(msg: Any, pose: Pose) -> None:
    _fill_vector(msg.position, pose.position)
    orientation = msg.orientation
    orientation.x, orientation.y, orientation.z, orientation.w = map(float, pose.orientation)
