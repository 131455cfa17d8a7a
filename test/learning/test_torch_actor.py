"""Episodes that act side by side act as each would alone, and begin and end independently."""

import math

import numpy as np
import pytest
from vla_examples import ROLES, model, observation

from safevla_ros.policy.interface import Instruction
from safevla_ros.policy.vla.torch_actor import TorchActor

FIND, FETCH = Instruction("find the apple"), Instruction("find the mug")


def test_episodes_side_by_side_act_as_each_would_alone():
    vla, rng = model(), np.random.default_rng(0)
    seen = [[observation(vla, rng) for _ in range(6)] for _ in range(3)]
    together = TorchActor(vla, ROLES, 3, selection="argmax")
    for i, instruction in enumerate((FIND, FETCH, FIND)):
        together.begin(i, instruction)
    acted = [together.act({i: seen[i][t] for i in range(3)}) for t in range(6)]
    for i, instruction in enumerate((FIND, FETCH, FIND)):
        alone = TorchActor(vla, ROLES, 1, selection="argmax")
        alone.begin(0, instruction)
        for t in range(6):
            token, log_p = alone.act({0: seen[i][t]})[0]
            assert token == acted[t][i][0]
            assert log_p == pytest.approx(acted[t][i][1], abs=1e-5)


def test_an_episode_that_begins_anew_forgets_while_the_others_go_on():
    vla, rng = model(), np.random.default_rng(1)
    first, second = observation(vla, rng), observation(vla, rng)

    def logs(restart):
        actor = TorchActor(vla, ROLES, 2, selection="argmax")
        for i in range(2):
            actor.begin(i, FIND)
        actor.act({0: first, 1: first})
        if restart:
            actor.begin(0, FIND)
        return actor.act({0: second, 1: second})

    fresh = TorchActor(vla, ROLES, 1, selection="argmax")
    fresh.begin(0, FIND)
    anew = logs(restart=True)
    assert anew[0] == pytest.approx(fresh.act({0: second})[0], abs=1e-5)
    assert anew[1] == pytest.approx(logs(restart=False)[1], abs=1e-5)
    assert anew[0][1] != pytest.approx(anew[1][1], abs=1e-4)


def test_a_subset_of_the_episodes_may_act():
    vla, rng = model(), np.random.default_rng(2)
    actor = TorchActor(vla, ROLES, 4)
    for i in range(4):
        actor.begin(i, FIND)
    assert set(actor.act({1: observation(vla, rng), 3: observation(vla, rng)})) == {1, 3}
    assert set(actor.inputs) == {1, 3}
    assert actor.act({}) == {}


def test_a_low_temperature_is_sharper_and_says_so():
    vla, rng = model(), np.random.default_rng(3)
    seen = observation(vla, rng)
    surest = {}
    for temperature in (0.25, 1.0):
        actor = TorchActor(vla, ROLES, 1, selection="argmax", temperature=temperature)
        actor.begin(0, FIND)
        surest[temperature] = math.exp(actor.act({0: seen})[0][1])
    assert surest[0.25] > surest[1.0]


def test_an_action_of_somebody_else_becomes_the_previous_one():
    vla, rng = model(), np.random.default_rng(4)
    actor = TorchActor(vla, ROLES, 1)
    actor.begin(0, FIND)
    actor.act({0: observation(vla, rng)})
    actor.acted(0, 7)
    actor.act({0: observation(vla, rng)})
    assert actor.inputs[0]["previous_token"] == 7
