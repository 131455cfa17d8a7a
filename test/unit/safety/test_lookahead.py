"""Look-ahead: what is held back, what must pass, judged by driving the robot model through it.

`drive` plays commands on a plain model of the base that reaches commanded velocities at the
profile's rates, with the gate between command and base, at 50 Hz.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from safevla_ros.robot.geometry import moved, planar, yaw_of
from safevla_ros.robot.kinematics import Kinematics
from safevla_ros.robot.profile import urdf_path
from safevla_ros.robot.state import NANOSECONDS, BaseVelocity, Capsule, Command, Joint
from safevla_ros.safety import Decision, Gate, Proposal, Reason, Task, parse_specification
from safevla_ros.safety.lookahead import _lowered
from safevla_ros.safety.prediction import Prediction

PERIOD_S = 0.02
STEP_S = 0.5
FOOTPRINT_M = 0.25
STEP_AHEAD = Command(BaseVelocity(x=0.4), duration_s=STEP_S)  # the paper's 0.20 m
STAIRS = {"name": "stairs", "polygon": [[1.0, -1.0], [3.0, -1.0], [3.0, 1.0], [1.0, 1.0]]}


def line(x0, y0, x1, y1, gap=0.02):
    """Points of the scan along a wall."""
    count = max(2, round(math.hypot(x1 - x0, y1 - y0) / gap))
    share = np.linspace(0.0, 1.0, count)
    return np.stack([x0 + share * (x1 - x0), y0 + share * (y1 - y0), np.full(count, 0.18)], axis=1)


def toward(wanted, now, most):
    return now + min(max(wanted - now, -most), most)


class Drive:
    """A base that obeys the gate, and what happened to it."""

    def __init__(self, gate, profile, make_world, start, world):
        self.gate, self.profile, self.make_world, self.world = gate, profile, make_world, world
        self.pose, self.velocity, self.time_s = start, BaseVelocity(), 10.0
        self.verdicts, self.closest_m = [], math.inf

    def step(self, command):
        """One candidate, and the base under supervision until it is over."""
        now_ns = round(self.time_s * NANOSECONDS)
        proposal = Proposal("policy", now_ns, command)
        verdict = self.gate.propose(proposal, self.state(), now_ns, self.time_s)
        self.verdicts.append(verdict)
        for _ in range(round(command.duration_s / PERIOD_S)):
            self.obey(verdict.command)
            now_ns = round(self.time_s * NANOSECONDS)
            verdict = self.gate.supervise(self.state(), now_ns, self.time_s)
            self.verdicts += [verdict] if verdict.changed else []
        return self

    def obey(self, command):
        rates, v, wanted = self.profile.limits.base, self.velocity, command.velocity
        self.velocity = BaseVelocity(
            toward(wanted.x, v.x, rates.linear_m_s2 * PERIOD_S),
            0.0,
            toward(wanted.yaw, v.yaw, rates.yaw_rad_s2 * PERIOD_S),
        )
        self.pose = moved(self.pose, self.velocity, PERIOD_S)
        self.time_s += PERIOD_S
        points = self.world.get("obstacles", np.empty((0, 3)))
        if len(points):
            offsets = points[:, :2] - np.asarray(self.pose.position[:2])
            self.closest_m = min(self.closest_m, float(np.hypot(*offsets.T).min()))

    def state(self):
        x, y, _ = self.pose.position
        return self.make_world(
            self.time_s, x, y, yaw_of(self.pose.orientation), velocity=self.velocity, **self.world
        )

    @property
    def interventions(self):
        return [verdict for verdict in self.verdicts if verdict.decision is not Decision.PASS]


@pytest.fixture
def drive(profile, household, make_world):
    def make(x=0.0, y=0.0, yaw=0.0, zones=(), **world):
        specification = household.with_zones(zones) if zones else household
        gate = Gate(profile, specification, "enforce")
        return Drive(gate, profile, make_world, planar(x, y, yaw), world)

    return make


# What must be held back.


@pytest.mark.parametrize("gap_m", [0.6, 0.75, 0.8, 1.0, 1.3])
@pytest.mark.parametrize("angle", [0.0, 0.5])
def test_driving_at_a_wall_ends_before_it_however_long_it_is_tried(drive, gap_m, angle):
    robot = drive(yaw=angle, obstacles=line(gap_m, -3.0, gap_m, 3.0))
    for _ in range(10):
        robot.step(STEP_AHEAD)
    assert robot.interventions[-1].reason is Reason.PREDICTED
    assert robot.interventions[-1].term == "collision"
    assert robot.closest_m >= FOOTPRINT_M
    assert robot.velocity.x == pytest.approx(0.0, abs=1e-6)


def test_it_gets_near_the_wall_before_it_is_held(drive):
    robot = drive(obstacles=line(1.0, -3.0, 1.0, 3.0))
    for _ in range(10):
        robot.step(STEP_AHEAD)
    assert robot.closest_m <= FOOTPRINT_M + 0.12


def test_a_command_that_would_go_too_far_is_cut_to_a_part(drive):
    robot = drive(obstacles=line(0.45, -1.0, 0.45, 1.0))  # 0.17 m of way, of 0.20
    verdict = robot.step(STEP_AHEAD).verdicts[0]
    assert (verdict.decision, verdict.reason) == (Decision.LIMIT, Reason.PREDICTED)
    assert verdict.command.velocity.x == pytest.approx(0.75 * 0.4)
    assert robot.closest_m >= FOOTPRINT_M


def test_a_post_that_appears_in_front_of_a_moving_robot_stops_it(drive):
    robot = drive(obstacles=np.empty((0, 3)))
    robot.step(Command(BaseVelocity(x=0.4), duration_s=0.4))
    ahead = robot.pose.position[0] + FOOTPRINT_M + 0.2
    robot.world = {"obstacles": line(ahead, -0.02, ahead, 0.02)}
    robot.step(STEP_AHEAD).step(STEP_AHEAD)
    assert robot.closest_m >= FOOTPRINT_M


def test_what_appears_while_a_command_runs_stops_it_before_the_next_one(drive):
    robot = drive()
    now_ns = round(robot.time_s * NANOSECONDS)
    ahead = Proposal("policy", now_ns, Command(BaseVelocity(x=0.4), duration_s=0.5))
    assert robot.gate.propose(ahead, robot.state(), now_ns, 1.0).decision is Decision.PASS
    robot.world = {"obstacles": line(0.29, -0.02, 0.29, 0.02)}
    verdict = robot.gate.supervise(robot.state(), now_ns + 20_000_000, 1.0)
    assert (verdict.decision, verdict.reason) == (Decision.HALT, Reason.PREDICTED)
    assert verdict.changed


def test_creeping_towards_a_wall_within_the_clearance_is_held_back(drive):
    robot = drive(obstacles=line(0.27, -1.0, 0.27, 1.0))
    creep = Command(BaseVelocity(x=0.0015), duration_s=0.5)
    assert robot.step(creep).verdicts[0].decision is Decision.HALT


def test_a_command_that_is_cut_twice_says_how_much_is_left_of_the_whole(drive):
    robot = drive(obstacles=line(0.45, -1.0, 0.45, 1.0))
    now_ns = round(robot.time_s * NANOSECONDS)
    robot.gate.propose(Proposal("policy", now_ns, STEP_AHEAD), robot.state(), now_ns, 1.0)
    robot.world = {"obstacles": line(0.4, -1.0, 0.4, 1.0)}
    verdict = robot.gate.supervise(robot.state(), now_ns + 20_000_000, 1.0)
    share = verdict.command.velocity.x / 0.4
    assert 0.0 < share < 0.75
    assert f"{100 * share:.0f} % of the command" in verdict.detail


@pytest.mark.parametrize(("age_s", "passes"), [(-0.05, True), (0.0, True), (0.25, False)])
def test_odometry_that_is_late_counts_as_way_gone_since(drive, age_s, passes):
    robot = drive(obstacles=line(0.58, -1.0, 0.58, 1.0))  # 0.30 m of way; it takes 0.25
    robot.velocity = BaseVelocity(x=0.4)
    now_ns = round((robot.time_s + age_s) * NANOSECONDS)
    verdict = robot.gate.propose(
        Proposal("policy", now_ns, STEP_AHEAD), robot.state(), now_ns, robot.time_s
    )
    assert (verdict.decision is Decision.PASS) is passes


@pytest.mark.parametrize("behind_m", [0.15, 0.27])
def test_what_is_too_near_behind_excuses_nothing_ahead(drive, behind_m):
    ahead = line(0.35, -0.5, 0.35, 0.5)  # 0.07 m of way, of 0.20
    alone = drive(obstacles=ahead).step(STEP_AHEAD).verdicts[0]
    both = drive(obstacles=np.vstack([ahead, [[-behind_m, 0.0, 0.18]]]))
    verdict = both.step(STEP_AHEAD).verdicts[0]
    assert (verdict.decision, verdict.command) == (alone.decision, alone.command)
    assert both.closest_m >= min(behind_m, FOOTPRINT_M)


def test_a_robot_in_one_zone_does_not_enter_another_on_its_way_out(drive):
    trap = {"name": "trap", "polygon": [[0.2, -1.0], [0.7, -1.0], [0.7, 1.0], [0.2, 1.0]]}
    robot = drive(x=1.2, zones=[STAIRS, trap])
    for _ in range(5):
        robot.step(Command(BaseVelocity(x=-0.4), duration_s=0.5))
    assert robot.pose.position[0] - 0.1 >= 0.7  # the mast's radius is 0.1
    assert "zone trap" in robot.interventions[-1].detail


def test_a_zone_is_not_entered_however_long_it_is_tried(drive):
    robot = drive(zones=[STAIRS])
    for _ in range(10):
        robot.step(STEP_AHEAD)
    assert robot.pose.position[0] + 0.1 <= 1.0  # the mast's radius is 0.1
    assert robot.interventions[-1].term == "zone_intrusion"
    assert "stairs" in robot.interventions[-1].detail


def test_turning_an_outstretched_arm_into_a_zone_is_held_back(profile, household, make_world):
    arm = Capsule("arm", (0.0, 0.0, 0.8), (0.0, -0.8, 0.8), 0.05)
    zone = {"name": "shelf", "polygon": [[0.3, -1], [2, -1], [2, 1], [0.3, 1]]}
    gate = Gate(profile, household.with_zones([zone]), "enforce")
    left = Proposal("policy", 10 * NANOSECONDS, Command(BaseVelocity(yaw=1.05), duration_s=0.5))
    verdict = gate.propose(left, make_world(10.0, links=(arm,)), 10 * NANOSECONDS, 1.0)
    assert verdict.reason is Reason.PREDICTED
    right = Proposal("policy", 10 * NANOSECONDS, Command(BaseVelocity(yaw=-1.05), duration_s=0.5))
    verdict = gate.propose(right, make_world(10.0, links=(arm,)), 10 * NANOSECONDS, 1.0)
    assert verdict.decision is Decision.PASS


@pytest.mark.parametrize(
    ("target", "decision"),
    [
        ({"arm": 0.35}, Decision.PASS),
        ({"arm": 0.42}, Decision.LIMIT),
        ({"arm": 0.3}, Decision.PASS),
    ],
)
def test_reaching_into_a_zone_is_foreseen_through_the_kinematics(
    profile, household, make_world, target, decision
):
    kinematics = Kinematics(urdf_path(profile))
    readings = {"lift": 0.5, "arm": 0.3, "wrist_yaw": 0.0, "gripper": 0.02}
    joints = {name: Joint(value) for name, value in readings.items()}
    base = planar(0.0, 0.0)
    links = kinematics.capsules(base, joints)
    reach = min(min(link.start[1], link.end[1]) - link.radius for link in links)
    zone = {
        "name": "shelf",
        "polygon": [[-1, reach - 1], [1, reach - 1], [1, reach - 0.10], [-1, reach - 0.10]],
    }
    gate = Gate(profile, household.with_zones([zone]), "enforce", kinematics)
    world = make_world(10.0, base=base, joints=joints, links=links)
    command = Command(joints=target, duration_s=1.0)
    verdict = gate.propose(
        Proposal("policy", 10 * NANOSECONDS, command), world, 10 * NANOSECONDS, 1
    )
    assert verdict.decision is decision
    if decision is Decision.LIMIT:
        assert 0.3 < verdict.command.joints["arm"] < 0.37


# What must pass.


def test_a_door_of_90_cm_is_driven_through_without_an_intervention(drive):
    door = np.concatenate([line(1.0, 0.45, 1.0, 3.0), line(1.0, -0.45, 1.0, -3.0)])
    robot = drive(x=0.0, y=0.05, obstacles=door)
    for _ in range(10):
        robot.step(STEP_AHEAD)
    assert robot.interventions == []
    assert robot.pose.position[0] == pytest.approx(2.0, abs=0.06)


def test_a_door_is_driven_through_on_a_crooked_path(drive):
    door = np.concatenate([line(1.0, 0.45, 1.0, 3.0), line(1.0, -0.45, 1.0, -3.0)])
    robot = drive(x=0.2, y=-0.25, yaw=0.3, obstacles=door)
    for _ in range(6):
        robot.step(STEP_AHEAD)
    turn = Command(BaseVelocity(yaw=-math.radians(60)), duration_s=0.5)
    for command in (turn, STEP_AHEAD, STEP_AHEAD, STEP_AHEAD):
        robot.step(command)
    assert robot.interventions == []


def test_a_careful_robot_parks_by_a_table(drive):
    robot = drive(obstacles=line(1.30, -0.4, 1.30, 0.4))
    for _ in range(4):
        robot.step(STEP_AHEAD)  # ends 0.25 m before the table with its hull
    small = Command(BaseVelocity(x=0.2), duration_s=0.5)
    robot.step(small)  # 0.15 m
    turn = Command(BaseVelocity(yaw=math.radians(60)), duration_s=0.5)
    for _ in range(3):
        robot.step(turn)  # to stand with the arm's side to it
    robot.step(STEP_AHEAD)
    assert robot.interventions == []


def test_a_robot_that_stands_at_a_wall_may_turn_and_leave_but_not_go_on(drive):
    robot = drive(obstacles=line(0.27, -2.0, 0.27, 2.0))  # nearer than the clearance
    assert robot.step(STEP_AHEAD).verdicts[-1].decision is Decision.HALT
    turn = Command(BaseVelocity(yaw=math.radians(60)), duration_s=0.5)
    robot.verdicts.clear()
    for command in (*[turn] * 6, STEP_AHEAD):
        robot.step(command)
    assert robot.interventions == []
    assert robot.pose.position[0] < -0.1


@pytest.mark.parametrize("drift", [0.0005, 0.005])
def test_a_turn_beside_a_wall_is_not_held_for_what_odometry_drifts(drive, drift):
    robot = drive(obstacles=line(0.27, -2.0, 0.27, 2.0))
    robot.velocity = BaseVelocity(drift, drift, math.radians(60))  # as measured; the base stands
    turn = Command(BaseVelocity(yaw=math.radians(60)), duration_s=0.5)
    assert robot.step(turn).interventions == []


def test_a_robot_in_a_zone_may_back_out_of_it_but_not_go_deeper(drive):
    robot = drive(x=1.2, zones=[STAIRS])
    deeper = robot.step(STEP_AHEAD).verdicts[-1]
    assert (deeper.decision, deeper.reason) == (Decision.HALT, Reason.PREDICTED)
    robot.verdicts.clear()
    back = Command(BaseVelocity(x=-0.4), duration_s=0.5)
    robot.step(back).step(back)
    assert robot.interventions == []
    assert robot.pose.position[0] < 0.9


def test_but_not_when_a_stop_is_latched(drive):
    robot = drive(x=1.2, zones=[STAIRS])
    robot.gate.latch(Reason.INTRUDER, "because")
    robot.step(Command(BaseVelocity(x=-0.4), duration_s=0.5))
    assert robot.pose.position[0] == 1.2


@pytest.mark.parametrize(("task", "passes"), [(True, True), (False, False)])
def test_the_instructed_object_may_be_approached(drive, make_object, task, passes):
    ball = make_object("ball_1", 0.5, 0.0, 0.15, size=(0.3, 0.3, 0.3))
    robot = drive(
        objects={"ball_1": ball},
        obstacles=line(0.35, -0.1, 0.35, 0.1),
        task=Task(target_ids=("ball_1",)) if task else Task(),
    )
    robot.step(STEP_AHEAD)
    assert (robot.interventions == []) is passes


def test_a_term_that_only_logs_is_predicted_but_holds_nothing_back(profile, household, make_world):
    text = household.text.replace("response: stop", "response: log")
    gate = Gate(profile, parse_specification(text, "test"), "enforce")
    world = make_world(10.0, obstacles=line(0.3, -1, 0.3, 1))
    now_ns = 10 * NANOSECONDS
    verdict = gate.propose(Proposal("policy", now_ns, STEP_AHEAD), world, now_ns, 1.0)
    assert verdict.decision is Decision.PASS
    assert verdict.predicted["collision"] == 1.0


def test_the_part_that_is_let_through_only_gets_smaller_while_a_command_runs(drive):
    robot = drive(obstacles=line(0.45, -1.0, 0.45, 1.0))
    now_ns = round(robot.time_s * NANOSECONDS)
    long = Command(BaseVelocity(x=0.4), duration_s=STEP_S)
    first = robot.gate.propose(Proposal("policy", now_ns, long), robot.state(), now_ns, 1.0)
    robot.world = {}  # nothing is there any more
    second = robot.gate.supervise(robot.state(), now_ns + 20_000_000, 1.0)
    assert second.command.velocity == first.command.velocity
    assert second.decision is Decision.LIMIT


@pytest.mark.parametrize("clearance", [0.0, 0.03])
def test_a_margin_that_is_no_number_is_not_safe_and_hides_no_other(profile, make_world, clearance):
    nan, world = float("nan"), make_world()
    ahead = Prediction(profile, None, world, [(STEP_AHEAD, 0.5)], world.stamp_ns)
    assert _lowered(np.array([[1.0, 1.0], [nan, 1.0]]), ahead, clearance) == 0
    assert _lowered(np.array([[1.0, 1.0], [1.0, -1.0], [nan, -1.0]]), ahead, clearance) is not None
    assert _lowered(np.array([[nan, -0.01], [nan, -0.01]]), ahead, clearance) == 0
    assert _lowered(np.array([[np.inf], [np.inf]]), ahead, clearance) is None
