"""Homes: the same from the same seed, furnished sensibly, and such that the task can be done."""

from __future__ import annotations

import math

import numpy as np
import pytest

from safevla_ros.simulation.goods import GOODS
from safevla_ros.simulation.grid import Routes
from safevla_ros.simulation.home import Home, generate_home
from safevla_ros.simulation.reach import BASE_RADIUS, standoffs
from safevla_ros.simulation.scenario import ScenarioError
from safevla_ros.simulation.solids import Solids

from .conftest import make_scenario

TASKS = ("find", "pick_up", "fetch", "bring")


def homes() -> list[Home]:
    return [
        generate_home(make_scenario(seed, TASKS[seed % 4], rooms=1 + seed % 4))
        for seed in range(16)
    ]


def things(home: Home) -> list[tuple[object, ...]]:
    return [
        (item.id, item.position, item.yaw, item.design) for item in (*home.fixtures, *home.goods)
    ]


def test_the_same_seed_gives_the_same_home():
    first, second = generate_home(make_scenario(11)), generate_home(make_scenario(11))
    assert things(first) == things(second)
    assert first.start == second.start
    assert first.light == second.light


def test_another_seed_gives_another_home():
    assert things(generate_home(make_scenario(11))) != things(generate_home(make_scenario(12)))


def test_another_target_leaves_rooms_and_furniture_as_they_are():
    first = generate_home(make_scenario(11, target_class="mug"))
    second = generate_home(make_scenario(11, target_class="vase"))
    assert [item.position for item in first.fixtures] == [item.position for item in second.fixtures]


@pytest.mark.parametrize("rooms", [1, 2, 3, 4])
def test_a_home_has_the_rooms_that_are_asked_for_and_doors_between_them(rooms):
    home = generate_home(make_scenario(5, rooms=rooms))
    assert len(home.rooms) == rooms
    assert len(home.doors) == rooms - 1 if rooms < 4 else len(home.doors) >= 3
    assert all(door.width > 2 * BASE_RADIUS + 0.4 for door in home.doors)


def test_small_things_rest_on_a_surface_of_their_support():
    for home in homes():
        for thing in home.goods:
            support = home.item(thing.support)
            x, y = thing.position[0] - support.position[0], thing.position[1] - support.position[1]
            c, s = math.cos(support.yaw), math.sin(support.yaw)
            local = c * x + s * y, c * y - s * x
            assert any(
                abs(local[0] - surface.center[0]) <= surface.half_x + 1e-9
                and abs(local[1] - surface.center[1]) <= surface.half_y + 1e-9
                and abs(thing.position[2] - surface.center[2]) < 1e-9
                for surface in support.design.surfaces
            ), f"{thing.id} does not rest on {support.id} in home {home.seed}"


def test_small_things_do_not_stand_inside_of_anything():
    for home in homes():
        solids = Solids.of_items((*home.fixtures, *home.goods))
        for thing in home.goods:
            center = np.array([thing.box_pose.position])
            assert not solids.without(thing.id).contain(center).any(), (home.seed, thing.id)


def test_every_room_can_be_reached_from_the_start():
    for home in homes():
        price = np.where(home.grid.clearance > BASE_RADIUS, 1.0, np.inf)
        routes = Routes(home.grid, home.grid.cell(*home.start.position[:2]), price)
        xs, ys = home.grid.centers()
        for room in home.rooms:
            inside = (xs > room.x0) & (xs < room.x1) & (ys > room.y0) & (ys < room.y1)
            assert np.isfinite(routes.costs[inside]).any(), (home.seed, room.name)


def test_the_robot_starts_in_free_space():
    for home in homes():
        assert home.grid.clearance_at(*home.start.position[:2]) > BASE_RADIUS


def test_the_target_can_be_taken_from_a_place_that_the_base_can_get_to():
    for home in homes():
        target = home.goods[0]
        assert target.id in home.target_ids
        x, y, z = target.position
        solids = Solids.of_items((*home.fixtures, *home.goods[1:]))
        price = np.where(home.grid.clearance > BASE_RADIUS, 1.0, np.inf)
        routes = Routes(home.grid, home.grid.cell(*home.start.position[:2]), price)
        spots = standoffs((x, y, z + target.design.grasp_height), home.grid, solids)
        assert any(np.isfinite(routes.costs[home.grid.cell(s.x, s.y)]) for s in spots), home.seed


def test_fetch_starts_in_another_room_than_the_target():
    for seed in range(8):
        home = generate_home(make_scenario(seed, "fetch"))
        target = home.item(home.target_ids[0])
        assert home.room_at(*home.start.position[:2]) is not home.room_at(*target.position[:2])


def test_a_scenario_says_where_things_stand():
    home = generate_home(make_scenario(5, target_class="mug", placed={"mug": "coffee_table"}))
    assert home.item("mug-1").support == "coffee_table-1"


def test_most_things_are_large_enough_to_be_seen_across_a_room():
    home = generate_home(make_scenario(5, clutter=9, hazards=("stove", "knives", "fragile")))
    largest = {item.class_name: max(item.size) for item in home.goods}
    assert set(GOODS) | {"stove", "knife"} <= set(largest)
    assert min(largest.values()) >= 0.13
    assert sum(size >= 0.15 for size in largest.values()) > len(largest) / 2


def test_clutter_is_as_much_as_is_asked_for():
    assert len(generate_home(make_scenario(5, clutter=0)).goods) == 1


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"target_class": "unicorn"}, "target_class"),
        ({"start": {"x": -3.0, "y": 0.0}}, "start"),
        ({"target_class": "mug", "placed": {"mug": "wardrobe"}}, "placed"),
    ],
)
def test_what_cannot_be_is_refused_with_the_key_that_asks_for_it(fields, named):
    with pytest.raises(ScenarioError, match=named):
        generate_home(make_scenario(5, **fields))


def test_other_looks_leave_the_home_as_it_is():
    usual, varied = (generate_home(make_scenario(11, looks=looks)) for looks in ("usual", "varied"))
    assert [item.position for item in usual.fixtures] == [i.position for i in varied.fixtures]
    assert usual.goods == varied.goods
    assert usual.start == varied.start
    assert usual.floors != varied.floors
    assert usual.light != varied.light
    wall = {looks.item("wall-1").design.parts[0].color for looks in (usual, varied)}
    assert len(wall) == 2
