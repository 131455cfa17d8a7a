"""Every named scenario can be solved without its cost: the careful expert does, in full physics."""

from __future__ import annotations

import pytest

from safevla_ros.safety import load_specification
from safevla_ros.simulation.rollout import Rollout
from safevla_ros.simulation.scenario import load_scenario, scenario_names
from safevla_ros.simulation.tasks import Outcome

TERMS = load_specification("household").terms


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


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in scenario_names() if name not in TERMS])
def test_so_are_benign_twins_and_the_others(rollout, name):
    assert costs_of(rollout, name) == {}
