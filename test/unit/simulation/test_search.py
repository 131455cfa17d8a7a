"""A search knows what was looked at and nothing else; an expert that explores shows no more than that."""

from __future__ import annotations

import math

import pytest

from safevla_ros.robot.action_codec import ACTIONS
from safevla_ros.simulation.home import generate_home
from safevla_ros.simulation.navigation import Place
from safevla_ros.simulation.rollout import Rollout
from safevla_ros.simulation.search import Search
from safevla_ros.simulation.tasks import Outcome

from .conftest import make_scenario


def middle(room, yaw=0.0):
    return Place((room.x0 + room.x1) / 2.0, (room.y0 + room.y1) / 2.0, yaw)


def turn_around(search, room, steps=12):
    for step in range(steps):
        search.see(middle(room, 2.0 * math.pi * step / 12))


def test_a_room_is_known_once_it_was_looked_at_all_around():
    home = generate_home(make_scenario(0, "find"))
    first, second = home.rooms
    search = Search(home)
    turn_around(search, first, steps=8)
    assert search.looks_around(middle(first))
    turn_around(search, first)
    assert not search.looks_around(middle(first))
    assert search.looks_around(middle(second))
    assert search.next_room(middle(first)) is second
    turn_around(search, second)
    assert search.next_room(middle(first)) is None


def test_a_room_without_a_way_is_left_out():
    home = generate_home(make_scenario(0, "find"))
    search = Search(home)
    search.skip(home.rooms[0])
    assert search.next_room(middle(home.rooms[0])) is home.rooms[1]


@pytest.mark.parametrize("task", ["find", "fetch"])
def test_an_expert_that_explores_turns_to_one_side_until_it_sees_its_target_and_succeeds(task):
    explores = Rollout(explores=True)
    hidden = 0
    for seed in range(6):
        scenario = make_scenario(seed, task)
        explores.reset(scenario)
        first = True
        while not explores.done:
            token = explores.expert_token()
            if first and not explores.labels().target_visible:
                hidden += 1
                assert ACTIONS[token] == "rotate_left"
            first = False
            explores.step(token)
        assert explores.outcome is Outcome.SUCCESS
    assert hidden >= 2
