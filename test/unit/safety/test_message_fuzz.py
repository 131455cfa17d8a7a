"""Whatever the robot's messages say, as long as they are of their type: they are refused with a
sentence, or world state, costs and gate cope with them, and no command exceeds the robot's limits."""

from __future__ import annotations

from types import SimpleNamespace as Message

import pytest
from command_limits import assert_within
from hypothesis import given, settings
from hypothesis import strategies as st

from safevla_ros.robot.kinematics import Kinematics
from safevla_ros.robot.messages import (
    MessageError,
    command_from_candidate,
    command_from_twist,
    read_signal,
)
from safevla_ros.robot.profile import Signal, load_profile, urdf_path
from safevla_ros.robot.state import NANOSECONDS, BaseVelocity, Command
from safevla_ros.safety import (
    CostAccountant,
    Gate,
    Proposal,
    Signals,
    Task,
    WorldAssembler,
    load_specification,
)

NOW_NS = 10 * NANOSECONDS
PROFILE = load_profile("sim")
MORE = {
    "grid": Signal(topic="map", type="nav_msgs/msg/OccupancyGrid", max_age_s=1e6),
    "points": Signal(topic="points", type="sensor_msgs/msg/PointCloud2", max_age_s=1.0),
}
PROFILE = PROFILE.model_copy(update={"signals": PROFILE.signals.model_copy(update=MORE)})
KINEMATICS = Kinematics(urdf_path(PROFILE))
ZONE = {"name": "stairs", "polygon": [[0.5, -1.0], [3.0, -1.0], [3.0, 1.0], [0.5, 1.0]]}
SPECIFICATION = load_specification("household").with_zones([ZONE])

numbers = st.one_of(
    st.floats(-2.0, 2.0), st.sampled_from([0.0, 1.0, 1e-300, 60.0, 1e9]), st.floats()
)
counts = st.one_of(st.integers(0, 4), st.integers(0, 2**32 - 1))
words = st.sampled_from(["", "mug_1", "person_1", "floor", "arm", "é" * 40])
frames = st.sampled_from(["map", "odom", "base_link", "lidar", "", "nowhere"])
joints = st.one_of(st.sampled_from(sorted(PROFILE.limits.joints)), st.just("elbow"))


def message(**fields):
    return st.builds(Message, **fields)


vectors = message(x=numbers, y=numbers, z=numbers)
turns = st.one_of(
    st.just(Message(x=0.0, y=0.0, z=0.0, w=1.0)),
    message(x=numbers, y=numbers, z=numbers, w=numbers),
)
poses = message(position=vectors, orientation=turns)
twists = message(linear=vectors, angular=vectors)
headers = message(frame_id=frames)
columns = st.lists(numbers, max_size=4)
whole_joints = st.lists(joints, max_size=4, unique=True).flatmap(
    lambda names: message(
        name=st.just(names),
        position=st.one_of(columns, st.lists(numbers, min_size=len(names), max_size=len(names))),
        velocity=st.just([]),
        effort=st.one_of(st.just([]), columns),
    )
)
things = message(
    id=words, class_name=words, pose=poses, size=vectors, velocity=twists, fixed=st.booleans(),
    held=st.booleans(), confidence=numbers,
)  # fmt: skip
detections = message(
    id=words,
    results=st.lists(message(hypothesis=message(class_id=words, score=numbers)), max_size=2),
    bbox=message(center=poses, size=vectors),
)
contacts = message(link=words, object_id=words, other_id=words, position=vectors, force_n=numbers)
fields = message(
    name=st.sampled_from("xyzi"), offset=st.sampled_from([0, 4, 8, 2**32 - 1]),
    datatype=st.sampled_from([7, 7, 7, 8]),
)  # fmt: skip
XYZ = [Message(name=name, offset=4 * index, datatype=7) for index, name in enumerate("xyz")]
SIGNALS = {
    "joint_states": whole_joints,
    "odometry": message(
        header=headers, pose=message(pose=poses), twist=message(twist=twists)
    ),
    "localisation": message(header=headers, pose=message(pose=poses)),
    "scan": message(
        header=headers, angle_min=numbers, angle_increment=numbers, range_min=numbers,
        range_max=numbers, ranges=st.lists(numbers, max_size=6),
    ),
    "grid": message(
        header=headers,
        info=message(width=counts, height=counts, resolution=numbers, origin=poses),
        data=st.lists(st.integers(-128, 127), max_size=9),
    ),
    "points": message(
        header=headers, fields=st.one_of(st.just(XYZ), st.lists(fields, max_size=4)),
        width=counts, height=st.sampled_from([0, 1, 2, 2**32 - 1]),
        point_step=st.sampled_from([0, 8, 12, 16, 2**32 - 1]), row_step=counts.map(lambda n: 12 * n),
        is_bigendian=st.booleans(), data=st.binary(max_size=60),
    ),
    "objects": st.one_of(
        message(header=headers, objects=st.lists(things, max_size=3), complete=st.booleans()),
        message(header=headers, detections=st.lists(detections, max_size=3)),
    ),
    "contacts": message(header=headers, contacts=st.lists(contacts, max_size=3)),
}  # fmt: skip


def good_signals() -> Signals:
    """A robot that stands at the origin, all its required signals there."""
    at_rest = Message(x=0.0, y=0.0, z=0.0)
    pose = Message(position=at_rest, orientation=Message(x=0.0, y=0.0, z=0.0, w=1.0))
    twist = Message(linear=at_rest, angular=at_rest)
    names = sorted(PROFILE.limits.joints)
    known = {
        "joint_states": Message(name=names, position=[0.1] * len(names), velocity=[], effort=[]),
        "localisation": Message(header=Message(frame_id="map"), pose=Message(pose=pose)),
        "scan": Message(
            header=Message(frame_id="base_link"), angle_min=0.0, angle_increment=0.1, range_min=0.0,
            range_max=8.0, ranges=[],
        ),
        "odometry": Message(
            header=Message(frame_id="odom"), pose=Message(pose=pose), twist=Message(twist=twist)
        ),
    }  # fmt: skip
    signals = Signals()
    for name, good in known.items():
        signals.update(name, NOW_NS, read_signal(name, good))
    return signals


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # sums of absurd numbers overflow
@settings(max_examples=300, deadline=None)
@given(
    sent=st.lists(
        st.sampled_from(sorted(SIGNALS)).flatmap(
            lambda name: st.tuples(st.just(name), SIGNALS[name])
        ),
        min_size=1,
        max_size=3,
    )
)
def test_no_message_makes_world_costs_or_gate_fail(sent):
    signals, assembler = good_signals(), WorldAssembler(PROFILE, KINEMATICS)
    accountant = CostAccountant(SPECIFICATION)
    accountant.reset("one", Task(target_class="mug", task="fetch"))
    gate = Gate(PROFILE, SPECIFICATION, "enforce", KINEMATICS)
    for index, (name, each) in enumerate(sent):
        now_ns = NOW_NS + index * 20_000_000
        try:
            reading = read_signal(name, each)
        except MessageError:
            continue
        signals.update(name, now_ns, reading)
        world = assembler.assemble(signals, now_ns)
        accountant.sample(world)
        gate.set_margins(accountant.live(world))
        command = Command(BaseVelocity(x=0.3, yaw=0.1), {"lift": 0.2, "arm": 0.1}, 0.5)
        proposal = Proposal("policy", now_ns, command)
        verdict = gate.propose(proposal, world, now_ns, now_ns / NANOSECONDS)
        assert_within(PROFILE.limits, verdict.command)
        gate.set_charged(accountant.close_step(index))


@settings(max_examples=200, deadline=None)
@given(
    each=message(
        joint_names=st.lists(joints, max_size=3), joint_positions=columns, twist=twists,
        duration_s=numbers,
    )
)  # fmt: skip
def test_no_candidate_or_twist_makes_the_gate_fail_or_exceed_the_limits(each):
    gate = Gate(PROFILE, SPECIFICATION, "enforce", KINEMATICS)
    world = WorldAssembler(PROFILE, KINEMATICS).assemble(good_signals(), NOW_NS)
    for source, read in (
        ("policy", lambda: command_from_candidate(each)),
        ("joystick", lambda: command_from_twist(each.twist, 0.5)),
    ):
        try:
            proposal = Proposal(source, NOW_NS, read())
        except MessageError as error:
            proposal = Proposal(source, NOW_NS, Command(), fault=str(error))
        assert_within(PROFILE.limits, gate.propose(proposal, world, NOW_NS, 10.0).command)
        assert_within(PROFILE.limits, gate.supervise(world, NOW_NS + 20_000_000, 10.02).command)
