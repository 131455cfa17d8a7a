"""One trajectory, two routes: plain states straight from a world, and the same states as messages.
Costs, margins and sources are equal to 1e-9.

Where ROS is installed the messages are real and go through serialisation; elsewhere they are plain
objects with the same fields, rounded to the types that the messages have.
"""

from __future__ import annotations

import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest

from safevla_ros.robot import messages
from safevla_ros.robot.geometry import planar
from safevla_ros.robot.kinematics import Kinematics
from safevla_ros.robot.messages import LaserScan
from safevla_ros.robot.profile import urdf_path
from safevla_ros.robot.state import (
    NANOSECONDS,
    BaseVelocity,
    Contact,
    Joint,
    Localisation,
    Odometry,
    Pose,
    SceneObject,
    SceneObjects,
)
from safevla_ros.safety import (
    CostAccountant,
    Signals,
    Task,
    WorldAssembler,
    load_specification,
)

try:
    from geometry_msgs.msg import PoseWithCovarianceStamped
    from nav_msgs.msg import Odometry as OdometryMsg
    from rclpy.serialization import deserialize_message, serialize_message
    from sensor_msgs.msg import JointState
    from sensor_msgs.msg import LaserScan as LaserScanMsg

    from safevla_ros.msg import Contact as ContactMsg
    from safevla_ros.msg import Contacts
    from safevla_ros.msg import SceneObject as SceneObjectMsg
    from safevla_ros.msg import SceneObjects as SceneMsg
except ImportError:
    ROS = False
else:
    ROS = True

ROUTES = ["plain objects", pytest.param("ROS", marks=pytest.mark.skipif(not ROS, reason="no ROS"))]
ZONE = {"name": "stairs", "polygon": [[1.0, -0.5], [1.6, -0.5], [1.6, 0.9], [1.0, 0.9]]}
STEPS, SAMPLES = 12, 25
TASK = Task(target_ids=("mug_1",), target_class="mug", task="fetch")


def readings(index, rng):
    """All signals at sample `index`: a robot wanders through the zone, touches, holds and drops."""
    t = 0.02 * index
    x, y, yaw = 0.3 * t, 0.2 * math.sin(t), 0.4 * math.sin(0.7 * t)
    held = 60 <= index < 200
    mug = SceneObject(
        "mug_1",
        "mug",
        Pose((0.8, 0.1 * t, 0.9 if held else 0.41 + rng.uniform(0, 1e-3))),
        (0.08, 0.08, 0.1),
        held=held,
        confidence=0.9,
    )
    table = SceneObject("table_1", "table", planar(0.8, 0.0, 0.3, z=0.2), (0.6, 0.6, 0.4))
    pushed = min(max(index - 90, 0), 40) * 0.004
    knife = SceneObject(
        "knife_1", "knife", planar(1.2 + pushed, -0.4, pushed, z=0.9), (0.2, 0.03, 0.02)
    )
    vases = [
        SceneObject(
            f"vase_{i}", "vase", planar(0.9 + 0.2 * i + pushed, -0.5, z=0.9), (0.1, 0.1, 0.2)
        )
        for i in range(3)
    ]
    person = SceneObject(
        "person_1", "person", planar(2.5 - 0.2 * t, 0.6, z=0.9), (0.4, 0.4, 1.8), (-0.2, 0.0, 0.0)
    )
    contacts = [Contact("base_link", "floor", position=(x, y, 0.0), force_n=rng.uniform(1, 9))]
    if 90 <= index < 130:
        contacts.append(Contact("arm", "vase_2", force_n=rng.uniform(150.0, 250.0)))
    if index % 7 == 0:
        contacts.append(Contact("", "mug_1", "table_1"))
    velocity = BaseVelocity(0.3, 0.0, 0.4 * 0.7 * math.cos(0.7 * t))
    joints = {
        name: Joint(value + rng.normal(0, 1e-3), rng.normal(), math.nan)
        for name, value in {
            "lift": 0.5,
            "arm": 0.1 + 0.05 * t,
            "wrist_yaw": t,
            "gripper": 0,
        }.items()
    }
    yield "joint_states", joints
    if index % 5 == 0:
        ranges = rng.uniform(0.02, 13.0, 90)
        yield "scan", LaserScan("lidar", -math.pi, 2 * math.pi / 90, 0.05, 12.0, ranges)
        yield "objects", SceneObjects("map", (mug, table, knife, *vases, person), complete=True)
    yield "contacts", tuple(contacts)
    yield "localisation", Localisation("map", planar(x, y, yaw))
    yield "odometry", Odometry("odom", planar(x + 2.0, y, yaw), velocity)


def through_plain_objects(name, value, stamp_ns):
    message = SimpleNamespace(header=header())
    messages.set_stamp(message.header.stamp, stamp_ns)
    fill(name, message, value, scene_object_like, contact_like)
    if name == "scan":
        message.ranges = np.frombuffer(bytes(message.ranges), np.float32)
    for entry in getattr(message, "objects", ()):
        entry.confidence = float(np.float32(entry.confidence))
    message = copy.deepcopy(message)
    return messages.stamp_ns(message.header.stamp), messages.read_signal(name, message)


def through_ros(name, value, stamp_ns):
    kind = {
        "joint_states": JointState,
        "odometry": OdometryMsg,
        "localisation": PoseWithCovarianceStamped,
        "scan": LaserScanMsg,
        "objects": SceneMsg,
        "contacts": Contacts,
    }[name]
    message = kind()
    messages.set_stamp(message.header.stamp, stamp_ns)
    fill(name, message, value, SceneObjectMsg, ContactMsg)
    message = deserialize_message(serialize_message(message), kind)
    return messages.stamp_ns(message.header.stamp), messages.read_signal(name, message)


def fill(name, message, value, make_object, make_contact):
    match name:
        case "joint_states":
            messages.fill_joint_states(message, value)
        case "odometry":
            if not hasattr(message, "pose"):
                message.pose, message.twist = SimpleNamespace(pose=pose_like()), twist_like()
                message.twist = SimpleNamespace(twist=message.twist)
            messages.fill_odometry(message, value)
        case "localisation":
            if not hasattr(message, "pose"):
                message.pose = SimpleNamespace(pose=pose_like())
            messages.fill_localisation(message, value)
        case "scan":
            messages.fill_scan(message, value)
        case "objects":
            messages.fill_scene_objects(message, value, make_object)
        case "contacts":
            messages.fill_contacts(message, value, make_contact)


def header():
    return SimpleNamespace(stamp=SimpleNamespace(sec=0, nanosec=0), frame_id="")


def vector_like():
    return SimpleNamespace(x=0.0, y=0.0, z=0.0)


def pose_like():
    orientation = SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0)
    return SimpleNamespace(position=vector_like(), orientation=orientation)


def twist_like():
    return SimpleNamespace(linear=vector_like(), angular=vector_like())


def scene_object_like():
    return SimpleNamespace(pose=pose_like(), size=vector_like(), velocity=twist_like())


def contact_like():
    return SimpleNamespace(position=vector_like())


def score(profile, specification, route):
    kinematics = Kinematics(urdf_path(profile))
    signals, assembler = Signals(), WorldAssembler(profile, kinematics)
    accountant = CostAccountant(specification)
    accountant.reset("episode", TASK)
    rng = np.random.default_rng(7)
    steps = []
    for index in range(STEPS * SAMPLES):
        stamp_ns = NANOSECONDS + index * 20_000_000
        for name, value in readings(index, rng):
            at_ns, arrived = route(name, value, stamp_ns)
            signals.update(name, at_ns, arrived)
        world = assembler.assemble(signals, stamp_ns, TASK, release_commanded=index > 400)
        accountant.sample(world)
        if (index + 1) % SAMPLES == 0:
            steps.append(accountant.close_step(len(steps)))
    return steps


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", ["household", "paper"])
def test_states_and_messages_give_the_same_costs(profile, name, route):
    specification = load_specification(name)
    if name == "household":
        specification = specification.with_zones([ZONE])
    through = through_ros if route == "ROS" else through_plain_objects
    truth = score(profile, specification, lambda name, value, stamp_ns: (stamp_ns, value))
    copied = score(profile, specification, through)

    charged = {term.name: term.cumulative for term in truth[-1].terms}
    judged = {t.name for step in truth for t in step.terms if not math.isnan(t.margin)}
    assert judged == specification.terms.keys()  # a term that is not judged proves nothing
    for each in ("fragile_collection", "critical_point", "dangerous_equipment"):
        assert charged[each] >= 1.0
    if name == "household":
        assert charged["collision"] == 1.0
        assert charged["drop"] == 1.0
        assert charged["force_limit"] >= 1.0
        assert charged["bystander_displacement"] >= 1.0
        assert charged["separation"] >= 1.0
        assert 2.0 <= charged["zone_intrusion"] < STEPS
    for one, other in zip(truth, copied, strict=True):
        assert one.sources == other.sources
        for left, right in zip(one.terms, other.terms, strict=True):
            assert (left.name, left.status, left.cause) == (right.name, right.status, right.cause)
            assert left.cost == right.cost
            assert left.margin == pytest.approx(right.margin, abs=1e-9, rel=0, nan_ok=True)
            assert left.cumulative == right.cumulative
