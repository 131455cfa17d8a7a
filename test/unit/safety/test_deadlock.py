"""A robot that stands within a clearance gets away again: whatever leads away, or keeps the distance,
is let through, also by a gate that knows the world as a real robot does, with noise.

Each case is drawn by a seed: where things stand, how near the robot is to them, where it goes.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from safevla_ros.robot.geometry import moved, planar, yaw_of
from safevla_ros.robot.state import NANOSECONDS, BaseVelocity, Command, SceneObject
from safevla_ros.safety import Gate, Proposal

PERIOD_S, SCAN_S, STEP_S = 0.02, 0.1, 0.5
FOOTPRINT_M, CLEARANCE_M = 0.25, 0.03
SPEED_NOISE, YAW_NOISE, SCAN_NOISE_M = 0.005, 0.01, 0.01
FAR = 3.0


def wall(gap_m, bearing, half_m=FAR):
    """Points of a wall `gap_m` from the origin on that bearing [rad], 2 cm apart."""
    side = np.arange(-half_m, half_m, 0.02)
    out = np.array([math.cos(bearing), math.sin(bearing)])
    along = np.array([-out[1], out[0]])
    return gap_m * out + side[:, None] * along


def post(gap_m, bearing):
    """A chair's leg."""
    angles = np.linspace(0.0, 2.0 * math.pi, 7)[:-1]
    centre = (gap_m + 0.02) * np.array([math.cos(bearing), math.sin(bearing)])
    return centre + 0.02 * np.stack([np.cos(angles), np.sin(angles)], axis=1)


class Robot:
    """A base that obeys the gate, which knows of it what a robot measures."""

    def __init__(self, gate, profile, make_world, points, rng, noise=1.0, **world):
        self.gate, self.profile, self.make_world, self.rng = gate, profile, make_world, rng
        self.points, self.noise, self.world = points, noise, world
        self.pose, self.velocity, self.time_s = planar(0.0, 0.0), BaseVelocity(), 10.0
        self.scan, self.scanned_s = self.look(), self.time_s
        self.closest_m = self.gap_m()

    def look(self):
        """The points as the scanner tells them, each at a range that is a little off."""
        seen = self.points.copy()
        if len(seen) and self.noise:
            rays = seen - np.asarray(self.pose.position[:2])
            ranges = np.hypot(*rays.T)
            ranges += self.noise * SCAN_NOISE_M * self.rng.standard_normal(len(seen))
            seen = self.pose.position[:2] + rays / np.hypot(*rays.T)[:, None] * ranges[:, None]
        return np.column_stack([seen, np.full(len(seen), 0.2)])

    def gap_m(self):
        if not len(self.points):
            return math.inf
        return float(np.hypot(*(self.points - np.asarray(self.pose.position[:2])).T).min())

    def state(self):
        if self.time_s - self.scanned_s >= SCAN_S - 1e-9:
            self.scan, self.scanned_s = self.look(), self.time_s
        off = self.noise * self.rng.standard_normal(3) * (SPEED_NOISE, SPEED_NOISE, YAW_NOISE)
        velocity = BaseVelocity(
            self.velocity.x + off[0], self.velocity.y + off[1], self.velocity.yaw + off[2]
        )
        x, y, _ = self.pose.position
        stamp_ns = round(self.time_s * NANOSECONDS)
        sources = dict.fromkeys(self.profile.signals.present(), stamp_ns)
        sources["scan"] = round(self.scanned_s * NANOSECONDS)
        yaw = yaw_of(self.pose.orientation)
        return self.make_world(
            self.time_s, x, y, yaw, velocity=velocity, obstacles=self.scan,
            limits=self.profile.limits, sources=sources, **self.world,
        )  # fmt: skip

    def step(self, velocity):
        """One command of STEP_S."""
        now_ns = round(self.time_s * NANOSECONDS)
        proposal = Proposal("policy", now_ns, Command(velocity, duration_s=STEP_S))
        verdict = self.gate.propose(proposal, self.state(), now_ns, self.time_s)
        for _ in range(round(STEP_S / PERIOD_S)):
            self.obey(verdict.command.velocity)
            now_ns = round(self.time_s * NANOSECONDS)
            verdict = self.gate.supervise(self.state(), now_ns, self.time_s)

    def obey(self, wanted):
        rates, now = self.profile.limits.base, self.velocity
        most = np.array([rates.linear_m_s2, rates.linear_m_s2, rates.yaw_rad_s2]) * PERIOD_S
        change = np.array([wanted.x - now.x, wanted.y - now.y, wanted.yaw - now.yaw])
        self.velocity = BaseVelocity(
            *(np.array([now.x, now.y, now.yaw]) + change.clip(-most, most))
        )
        self.pose = moved(self.pose, self.velocity, PERIOD_S)
        self.time_s += PERIOD_S
        self.closest_m = min(self.closest_m, self.gap_m())

    def went_m(self):
        return math.hypot(*self.pose.position[:2])


@pytest.fixture
def place(profile, household, make_world):
    def make(points, rng, *, noise=1.0, zones=(), **world):
        gate = Gate(profile, household.with_zones(zones) if zones else household, "enforce")
        return Robot(gate, profile, make_world, points, rng, noise, **world)

    return make


def ahead(course, speed_m_s=0.4):
    """Straight on, for a base that can: the course is in the robot's frame, whose yaw stays 0."""
    return BaseVelocity(speed_m_s * math.cos(course), speed_m_s * math.sin(course))


SURROUNDINGS = {
    "wall": lambda gap_m: wall(gap_m, 0.0),
    "corner": lambda gap_m: np.concatenate([wall(gap_m, 0.0), wall(gap_m + 0.005, math.pi / 2)]),
    "post": lambda gap_m: post(gap_m, 0.0),
    "corridor": lambda gap_m: np.concatenate([wall(gap_m, 0.0), wall(gap_m + 0.01, math.pi)]),
}
AWAY_DEG = {"wall": (90, 270), "corner": (180, 270), "post": (90, 270), "corridor": (90, 90)}
"""Courses that lead nearer to nothing, from the first to the second."""


@pytest.mark.parametrize("where", SURROUNDINGS)
@pytest.mark.parametrize("seed", range(8))
def test_no_course_is_held_that_leads_nearer_to_nothing(place, where, seed):
    rng = np.random.default_rng(seed)
    gap_m = FOOTPRINT_M + rng.uniform(0.55, 1.3) * CLEARANCE_M
    first, last = AWAY_DEG[where]
    flat = rng.uniform(0.0, min(20.0, 0.5 * (last - first)))  # off the wall
    course = math.radians(first + flat if rng.uniform() < 0.5 else last - flat)
    robot = place(SURROUNDINGS[where](gap_m), rng, noise=0.0)
    for _ in range(4):
        robot.step(ahead(course))
    assert robot.went_m() > 0.7
    assert robot.closest_m > gap_m - 1e-3


@pytest.mark.parametrize("where", ["wall", "corner", "post"])
@pytest.mark.parametrize("seed", range(6))
def test_neither_is_one_that_leads_away_from_what_is_measured_with_noise(place, where, seed):
    rng = np.random.default_rng(seed)
    gap_m = FOOTPRINT_M + rng.uniform(0.55, 1.3) * CLEARANCE_M
    first, last = AWAY_DEG[where]
    flat = rng.uniform(10.0, 30.0)
    course = math.radians(first + flat if rng.uniform() < 0.5 else last - flat)
    robot = place(SURROUNDINGS[where](gap_m), rng)
    for _ in range(4):
        robot.step(ahead(course))
    assert robot.went_m() > 0.5


@pytest.mark.parametrize("seed", range(3))
def test_at_twice_the_clearance_from_a_wall_noise_holds_nothing_up(place, seed):
    robot = place(wall(FOOTPRINT_M + 2.0 * CLEARANCE_M, 0.0), np.random.default_rng(seed))
    for _ in range(8):
        robot.step(ahead(math.radians(90.0)))
    assert robot.went_m() > 1.4  # of 1.6


@pytest.mark.parametrize("where", SURROUNDINGS)
def test_it_may_always_turn_on_the_spot(place, where):
    rng = np.random.default_rng(1)
    robot = place(SURROUNDINGS[where](FOOTPRINT_M + 0.5 * CLEARANCE_M), rng)
    for _ in range(4):
        robot.step(BaseVelocity(yaw=1.0))
    assert yaw_of(robot.pose.orientation) > 1.7


@pytest.mark.parametrize("seed", range(4))
def test_it_may_drive_along_a_zone_within_its_clearance(place, seed):
    rng = np.random.default_rng(seed)
    edge = 0.1 + rng.uniform(0.55, 1.2) * CLEARANCE_M  # the mast's radius is 0.1
    zone = {"name": "stairs", "polygon": [[edge, -FAR], [FAR, -FAR], [FAR, FAR], [edge, FAR]]}
    robot = place(np.empty((0, 2)), rng, zones=[zone])
    for _ in range(4):
        robot.step(ahead(math.radians(90.0)))
    assert robot.went_m() > 0.7


@pytest.mark.parametrize("course_deg", [90, 135, 180, 270])
def test_it_may_leave_a_person_who_stands_before_it(place, course_deg):
    person = SceneObject("person_1", "person", planar(0.5, 0.0, z=0.9), (0.3, 0.5, 1.8))
    robot = place(np.empty((0, 2)), np.random.default_rng(2), objects={"person_1": person})
    robot.step(ahead(0.0))
    assert robot.went_m() < 0.01, "it must not go at the person"
    for _ in range(6):
        robot.step(ahead(math.radians(course_deg)))
    assert robot.went_m() > 0.5


@pytest.mark.parametrize("seed", range(16))
def test_whatever_the_course_nothing_is_touched_and_half_of_the_clearance_is_kept(place, seed):
    """Past a chair's leg beside a wall, at which it stands too near already."""
    rng = np.random.default_rng(seed)
    gap_m = FOOTPRINT_M + rng.uniform(0.55, 1.3) * CLEARANCE_M
    leg = post(rng.uniform(0.35, 0.7), rng.uniform(1.2, 2.4))
    robot = place(np.concatenate([wall(gap_m, 0.0), leg]), rng, noise=float(seed % 2))
    course = rng.uniform(0.0, math.pi)
    for _ in range(6):
        robot.step(ahead(course))
    assert robot.closest_m > min(gap_m, FOOTPRINT_M + 0.5 * CLEARANCE_M) - 2e-3


def test_a_wall_beside_it_is_no_excuse_to_creep_up_to_what_stands_before_it(place):
    leg = post(0.35, 0.5 * math.pi)
    robot = place(np.concatenate([wall(0.27, 0.0), leg]), np.random.default_rng(0), noise=0.0)
    for _ in range(8):
        robot.step(ahead(0.5 * math.pi, speed_m_s=0.04))
    apart = np.hypot(*(leg - np.asarray(robot.pose.position[:2])).T).min()
    assert apart > FOOTPRINT_M + CLEARANCE_M - 2e-3


@pytest.mark.parametrize("speed_m_s", [0.05, 0.4])
@pytest.mark.parametrize("towards_deg", [6, 30, 90])
def test_nor_to_come_nearer_to_the_wall(place, towards_deg, speed_m_s):
    robot = place(wall(0.27, 0.0), np.random.default_rng(0), noise=0.0)
    for _ in range(4):
        robot.step(ahead(math.radians(90.0 - towards_deg), speed_m_s))
    assert robot.closest_m > 0.27 - 1e-3


def test_along_a_wall_half_of_the_clearance_must_be_left(place):
    robot = place(wall(FOOTPRINT_M + 0.01, 0.0), np.random.default_rng(0), noise=0.0)
    for _ in range(4):
        robot.step(ahead(0.5 * math.pi))
    assert robot.went_m() < 0.01
    for _ in range(4):
        robot.step(ahead(math.radians(120.0)))
    assert robot.went_m() > 0.7
