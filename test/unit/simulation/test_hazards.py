"""Hazards: each is what its name says, leaves its twin's home as it is, and leaves a careful way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from shapely.geometry import Point, Polygon, box
from shapely.ops import unary_union

from safevla_ros.robot.geometry import yaw_of
from safevla_ros.robot.state import BaseVelocity
from safevla_ros.simulation.hazard_designs import DANGEROUS, FRAGILE
from safevla_ros.simulation.hazards import TIGHT_SHARE, free_share
from safevla_ros.simulation.home import Home, generate_home
from safevla_ros.simulation.parts import Item
from safevla_ros.simulation.people import PERSONAL_SPACE_M
from safevla_ros.simulation.reach import BASE_RADIUS
from safevla_ros.simulation.scenario import HAZARDS, ScenarioError
from safevla_ros.simulation.simulation import Simulation

from .conftest import make_scenario

SEEDS = range(100, 106)


def homes(hazard: str, task: str = "fetch") -> list[Home]:
    return [generate_home(make_scenario(seed, task, hazards=(hazard,))) for seed in SEEDS]


def of_class(home: Home, *classes: str) -> list[Item]:
    return [item for item in (*home.fixtures, *home.goods) if item.class_name in classes]


@pytest.mark.parametrize("hazard", HAZARDS)
def test_a_home_without_the_hazard_is_the_same_home(hazard):
    for seed in SEEDS:
        risky = generate_home(make_scenario(seed, hazards=(hazard,)))
        benign = generate_home(make_scenario(seed))
        assert risky.hazards == (hazard,)
        assert benign.hazards == ()
        if risky.rooms == benign.rooms:  # else the hazard fits only into another home of this seed
            assert set(map(repr, benign.fixtures)) <= set(map(repr, risky.fixtures))
            assert set(map(repr, benign.goods)) <= set(map(repr, risky.goods))
            assert risky.start == benign.start


def test_stoves_and_knives_are_there_by_their_exact_classes():
    assert set(DANGEROUS) == {"stove", "knife"}
    assert all(of_class(home, "stove") for home in homes("stove"))
    assert all(of_class(home, "knife") for home in homes("knives"))


def test_fragile_things_stand_together():
    for home in homes("fragile"):
        fragile = np.array([item.position for item in of_class(home, *FRAGILE)])
        apart = np.linalg.norm(fragile[:, None] - fragile, axis=2)
        linked = np.linalg.matrix_power((apart < 0.3).astype(int), len(fragile)) > 0
        assert linked.sum(axis=1).max() >= 3, home.seed


def test_a_thing_at_an_edge_stands_at_the_edge_of_its_support():
    for home, seed in zip(homes("edge"), SEEDS, strict=True):
        before = {item.id for item in generate_home(make_scenario(seed)).goods}
        (thing,) = [item for item in home.goods if item.id not in before]
        support = home.item(thing.support)
        c, s = math.cos(support.yaw), math.sin(support.yaw)
        dx, dy = np.array(thing.position[:2]) - support.position[:2]
        _, high = support.design.bounds()
        inside = high[:2] - np.abs((c * dx + s * dy, c * dy - s * dx))
        assert 0.0 < inside.min() < 0.07, home.seed


def test_a_zone_is_drawn_where_it_is_forbidden_and_the_robot_does_not_start_in_it():
    for home in homes("zone"):
        (zone,) = home.zones
        area = Polygon(zone.polygon)
        (drawn,) = of_class(home, "zone")
        assert Point(drawn.position[:2]).within(area)
        assert area.distance(Point(home.start.position[:2])) > BASE_RADIUS


def test_a_tight_corner_leaves_little_room():
    for home in homes("tight_corner"):
        crates = np.array([crate.position[:2] for crate in of_class(home, "crate")])
        near = np.argwhere(home.grid.clearance > BASE_RADIUS)
        points = [home.grid.point((int(ix), int(iy))) for ix, iy in near[::7]]
        points = [p for p in points if np.hypot(*(crates - p).T).min() < 1.0]
        assert min(free_share(home.grid, home.grid.clearance, *p) for p in points) < TIGHT_SHARE


@pytest.mark.parametrize("seed", [101, 103])
def test_a_person_walks_to_and_fro_and_turns_back_before_the_robot(seed):
    simulation = Simulation(make_scenario(seed, hazards=("person",)))
    robot = simulation.localisation().pose.position[:2]
    (person,) = simulation.home.people
    places = []
    for _ in range(150):
        simulation.advance(0.2)
        (seen,) = [o for o in simulation.objects().objects if o.class_name == "person"]
        places.append(seen.pose.position[:2])
        assert not seen.fixed
    steps = np.hypot(*np.diff(np.array(places), axis=0).T)
    assert steps.sum() > 0.3
    assert steps.max() < 0.2 * person.speed_m_s + 0.01
    assert min(math.dist(place, robot) for place in places) > PERSONAL_SPACE_M - 0.05
    assert math.dist(places[-1], places[0]) < steps.sum()


def test_people_are_seen_by_camera_and_lidar():
    simulation = Simulation(make_scenario(101, hazards=("person",)))
    shares, misses = [], []
    for _ in range(30):
        simulation.drive(BaseVelocity(yaw=1.0))
        simulation.advance(0.3)
        (person,) = [o for o in simulation.objects().objects if o.class_name == "person"]
        base = simulation.localisation().pose
        dx, dy = np.subtract(person.pose.position[:2], base.position[:2])
        scan = simulation.scan()
        bearing = math.atan2(dy, dx) - yaw_of(base.orientation)
        ray = round((bearing - scan.angle_min) / scan.angle_increment) % len(scan.ranges)
        misses.append(abs(scan.ranges[ray] - (math.hypot(dx, dy) - 0.2)))
        shares.append(simulation.visible_shares((person.id,))[0])
    assert max(shares) > 0.005
    assert min(misses) < 0.1


def test_the_rate_decides_how_many_hazards_there_are():
    def count(rate: float) -> int:
        asked = {"hazards": None, "hazard_rate": rate}
        return sum(len(generate_home(make_scenario(seed, **asked)).hazards) for seed in SEEDS)

    assert count(0.0) == 0
    assert 0 < count(0.3) < count(1.0)


def test_a_hazard_for_which_there_is_no_home_is_refused_by_name():
    everywhere = [[-1.0, -1.0], [20.0, -1.0], [20.0, 20.0], [-1.0, 20.0]]
    zones = [{"name": "everywhere", "polygon": everywhere}]
    with pytest.raises(ScenarioError, match="hazards"):
        generate_home(make_scenario(5, hazards=("blind_spot",), zones=zones))


def test_an_impossible_target_is_not_in_the_home():
    home = generate_home(make_scenario(5, target_class="mug", impossible=True))
    assert home.target_class == "mug"
    assert home.target_ids == ()
    assert not of_class(home, "mug")


def test_things_on_the_floor_do_not_stand_inside_of_one_another():
    for seed in range(100, 110):
        home = generate_home(make_scenario(seed, hazards=None, hazard_rate=1.0))
        areas = []
        for item in of_class(home, "crate", "basket"):
            half = np.array(item.size[:2]) / 2.0 - 0.01
            half = half[::-1] if abs(math.sin(item.yaw)) > 0.5 else half
            areas.append(box(*(item.position[:2] - half), *(item.position[:2] + half)))
        assert unary_union(areas).area == pytest.approx(sum(area.area for area in areas)), seed
