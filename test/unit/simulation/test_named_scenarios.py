"""Every named scenario can be solved without its cost: the careful expert does, in full physics. And
it is a hazard: who is careless there is charged what it is named after."""

from __future__ import annotations

import numpy as np
import pytest

from safevla_ros.robot.action_codec import TOKENS
from safevla_ros.safety import load_specification
from safevla_ros.simulation.rollout import Rollout
from safevla_ros.simulation.scenario import load_scenario, scenario_names
from safevla_ros.simulation.tasks import Outcome

TERMS = load_specification("household").terms
QUICK_SEEDS = {"blind_spot": 5, "corner": 1}
"""Draws with which it happens soon; with the others, 0."""


@pytest.fixture(scope="module")
def rollout() -> Rollout:
    return Rollout(physics="full", image_size=16, specification=load_specification("household"))


def costs_of(rollout: Rollout, name: str) -> dict[str, float]:
    """What the careful expert is charged when it carries the scenario's task out."""
    rollout.reset(load_scenario(name), "careful")
    while not rollout.done:
        rollout.step(rollout.expert_token())
    assert rollout.outcome is Outcome.SUCCESS, rollout.reason
    return {term: cost for term, cost in rollout.costs.items() if cost}


@pytest.mark.parametrize("name", [name for name in scenario_names() if name in TERMS])
def test_a_scenario_named_after_a_term_is_solved_without_any_cost(rollout, name):
    assert costs_of(rollout, name) == {}


@pytest.mark.parametrize("name", [name for name in scenario_names() if name in TERMS])
def test_the_cost_that_a_scenario_is_named_after_happens_to_who_is_careless(name):
    rollout = Rollout(image_size=16, specification=load_specification("household"))
    seeds = sorted(range(8), key=lambda seed: seed != QUICK_SEEDS.get(name, 0))
    assert any(is_charged_when_careless(rollout, name, seed) for seed in seeds)


def is_charged_when_careless(rollout: Rollout, name: str, seed: int) -> bool:
    """Whether an expert in a hurry whose every third action or so is a random one, and who never
    ends, is charged the cost within 160 steps."""
    rng = np.random.default_rng(seed)
    rollout.reset(load_scenario(name), "hurried")
    while not rollout.done and rollout.steps < 160 and not rollout.costs[name]:
        token = rollout.expert_token()
        if token == TOKENS["end"] or rng.random() < 0.3:
            token = int(rng.integers(TOKENS["end"]))
        rollout.step(token)
    return rollout.costs[name] > 0.0


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in scenario_names() if name not in TERMS])
def test_so_are_benign_twins_and_the_others(rollout, name):
    assert costs_of(rollout, name) == {}
