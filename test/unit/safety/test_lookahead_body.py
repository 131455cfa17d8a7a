"""Look-ahead for arm and head, against the point cloud and known objects, and for people."""

from __future__ import annotations

import math

import numpy as np
import pytest

from safevla_ros.robot.geometry import capsule_distances, planar
from safevla_ros.robot.kinematics import Kinematics
from safevla_ros.robot.profile import urdf_path
from safevla_ros.robot.state import NANOSECONDS, BaseVelocity, Command, Joint, SceneObject
from safevla_ros.safety import Decision, Gate, Proposal, Task

T0 = 10.0
FOLDED = {"lift": 0.8, "arm": 0.0, "wrist_yaw": 2.8, "gripper": 0.08}


@pytest.fixture(scope="module")
def kinematics(profile):
    return Kinematics(urdf_path(profile))


@pytest.fixture
def judge(profile, household, kinematics, make_world):
    """The verdict on one command in a world of a robot with its joints somewhere."""

    def run(command, joints=FOLDED, velocity=BaseVelocity(), **fields):  # noqa: B008
        readings = {name: Joint(at, 0.0) for name, at in joints.items()}
        base = planar(0.0, 0.0)
        world = make_world(
            T0,
            joints=readings,
            links=kinematics.capsules(base, readings),
            limits=profile.limits,
            velocity=velocity,
            **fields,
        )
        gate = Gate(profile, household, "enforce", kinematics)
        now_ns = round(T0 * NANOSECONDS)
        return gate.propose(Proposal("policy", now_ns, command), world, now_ns, T0)

    return run


def box(name, x, y, z, size=(0.1, 0.1, 0.1), **fields):
    class_name = name.rstrip("_0123456789")
    return {name: SceneObject(name, class_name, planar(x, y, z=z), size, **fields)}


REACH = Command(joints={"arm": 0.14}, duration_s=0.5)
"""The arm reaches to the robot's right (-y), from where it ends at about y = -0.2."""
BESIDE = dict(FOLDED, wrist_yaw=0.0)
"""The gripper points along the arm, its fingers end at y = -0.45."""


def test_the_arm_does_not_reach_into_a_known_object(judge):
    hit = judge(REACH, BESIDE, objects=box("vase_1", 0.12, -0.58, 1.0))
    assert hit.decision in (Decision.HALT, Decision.LIMIT)
    assert hit.term == "collision"
    assert "vase_1" in hit.detail
    assert hit.predicted["collision"] == 1.0
    away = judge(REACH, BESIDE, objects=box("vase_1", 0.12, -0.58, 0.6))
    assert (away.decision, away.predicted["collision"]) == (Decision.PASS, 0.0)


@pytest.mark.parametrize("aside", [-0.04, 0.0, 0.04])
@pytest.mark.parametrize("above", [-0.04, 0.0, 0.04])
def test_a_finger_does_not_reach_into_any_part_of_a_box(judge, aside, above):
    """The finger is 3 cm thick, the box 16 cm wide."""
    vase = box("vase_1", 0.116 + aside, -0.439 - 0.04 - 0.08, 1.0 + above, (0.16, 0.16, 0.16))
    hit = judge(Command(joints={"arm": 0.05}, duration_s=0.5), BESIDE, objects=vase)
    assert (hit.predicted["collision"], hit.decision is Decision.PASS) == (1.0, False)
    short = judge(Command(joints={"arm": 0.01}, duration_s=0.5), BESIDE, objects=vase)
    assert (short.predicted["collision"], short.decision) == (0.0, Decision.PASS)


def test_of_a_support_only_what_is_near_the_instructed_object_may_be_touched(judge):
    """A tray that reaches 30 cm past the mug to the left and right."""
    task = Task(target_ids=("mug_1",), target_class="mug", task="pick_up")
    for x, passes in ((0.03, True), (0.03 - 0.45, False), (0.03 + 0.45, False)):
        things = {
            **box("mug_1", x, -0.58, 1.0),
            **box("tray_1", x, -0.52, 1.0, (0.9, 0.12, 0.02)),
        }
        verdict = judge(
            Command(joints={"arm": 0.05}, duration_s=0.5), BESIDE, objects=things, task=task
        )
        assert (verdict.decision is Decision.PASS) is passes


def test_an_arm_that_is_deep_in_a_box_may_leave_and_go_no_deeper(judge):
    """As after an object was seen in the wrong place."""
    vase = box("vase_1", 0.116, -0.439, 1.0, size=(0.4, 0.2, 0.4))
    at = dict(BESIDE, arm=0.05)
    deeper, out = (
        judge(Command(joints={"arm": target}, duration_s=0.5), at, objects=vase)
        for target in (0.08, 0.02)
    )
    assert (deeper.decision is Decision.PASS, out.decision) == (False, Decision.PASS)


def test_the_arm_does_reach_for_the_instructed_object_and_beside_it(judge):
    things = {
        **box("mug_1", 0.12, -0.58, 1.0),
        **box("plate_1", 0.12, -0.58, 0.93, (0.2, 0.2, 0.02)),
    }
    task = Task(target_ids=("mug_1",), target_class="mug", task="pick_up")
    assert judge(REACH, BESIDE, objects=things, task=task).decision is Decision.PASS


@pytest.mark.parametrize("height", [1.0, 1.3])
def test_head_and_arm_do_not_drive_into_what_only_the_cloud_sees(judge, height):
    """A shelf at that height, which the scan at 0.18 m does not see."""
    y, x = np.meshgrid(np.linspace(-0.4, 0.4, 17), np.linspace(0.2, 0.5, 7))
    shelf = np.stack([x.ravel(), y.ravel(), np.full(x.size, height)], axis=1)
    ahead = Command(BaseVelocity(x=0.4), duration_s=0.5)
    assert judge(ahead, cloud=shelf).decision is not Decision.PASS
    assert judge(ahead, cloud=shelf + [1.5, 0.0, 0.0]).decision is Decision.PASS
    back = judge(Command(BaseVelocity(x=-0.4), duration_s=0.5), cloud=shelf)
    assert back.decision is Decision.PASS


def test_furniture_boxes_and_what_is_held_are_not_in_the_way(judge):
    things = {
        **box("table_1", 0.5, 0.0, 0.4, (0.8, 0.8, 0.8), fixed=True),
        **box("mug_1", 0.2, 0.0, 0.8, held=True),
    }
    assert (
        judge(Command(BaseVelocity(x=0.2), duration_s=0.5), objects=things).decision
        is Decision.PASS
    )


@pytest.mark.parametrize(
    ("distance", "decision"), [(4.0, Decision.PASS), (1.2, Decision.LIMIT), (0.85, Decision.HALT)]
)
def test_the_base_slows_down_and_stands_before_people(judge, distance, decision):
    people = box("person_1", distance, 0.0, 0.9, (0.4, 0.4, 1.8))
    verdict = judge(Command(BaseVelocity(x=0.5), duration_s=0.5), objects=people)
    assert verdict.decision is decision
    if decision is not Decision.PASS:
        assert verdict.term == "separation"
        assert verdict.command.velocity.x < 0.5
    away = judge(Command(BaseVelocity(x=-0.5), duration_s=0.5), objects=people)
    assert away.decision is Decision.PASS


def test_distances_to_hulls_are_those_of_a_plain_loop():
    rng = np.random.default_rng(5)
    starts, ends = rng.normal(size=(2, 3, 4, 3))
    radii, points = rng.uniform(0.0, 0.1, 4), rng.normal(size=(20, 3))
    found = capsule_distances(starts, ends, radii, points)
    for k in range(3):
        for n, point in enumerate(points):
            expected = math.inf
            for start, end, radius in zip(starts[k], ends[k], radii, strict=True):
                along = end - start
                share = min(max(float((point - start) @ along / (along @ along)), 0.0), 1.0)
                gap = np.linalg.norm(point - start - share * along) - radius
                expected = min(expected, float(gap))
            assert found[k, n] == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    ("joints", "passes"),
    [({"lift": 0.9}, True), ({"lift": 0.7}, True), ({"arm": 0.0}, True), ({"arm": 0.1}, False)],
)
def test_an_arm_that_seems_to_touch_an_object_may_go_along_it_and_away(judge, joints, passes):
    """As seen with noise: fingers that stand 5 mm in the box of a tall vase."""
    at = dict(BESIDE, arm=0.04)
    vase = box("vase_1", 0.116, -0.493 - 0.05 + 0.005, 1.0, size=(0.1, 0.1, 0.9))
    verdict = judge(Command(joints=joints, duration_s=1.0), at, objects=vase)
    assert (verdict.decision is Decision.PASS) is passes
