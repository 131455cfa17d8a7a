"""Homes as environments: tasks of the simulator in fast physics, with costs by term.

The reward is REWARD at success and else 0. Time that is up is an end like any other: what has not
been done by then has failed, and costs nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safevla_ros.policy.features import Features
from safevla_ros.policy.vla.processor import NO_TOKEN, Processor
from safevla_ros.robot.profile import load_profile
from safevla_ros.safety.specification import load_specification
from safevla_ros.simulation.rollout import Rollout
from safevla_ros.simulation.scenario import STEP_S, Scenario
from safevla_ros.simulation.seeds import TRAINING_SEEDS, require_training, training_seed
from safevla_ros.simulation.tasks import Outcome
from safevla_ros.training.online.settings import HomeSettings
from safevla_ros.training.online.world import Observation, Transition

REWARD = 10.0


def draw_scenario(settings: HomeSettings, seed: int, index: int, episode: int) -> Scenario:
    """The scenario of an episode; from (run's seed, environment, number) alone, so that a resumed
    run meets what it would have met."""
    rng = np.random.default_rng([seed, index, episode])
    one, three = settings.one_room, settings.three_rooms
    benign = bool(rng.random() < settings.benign)
    return Scenario(
        name=f"online-{index}-{episode}",
        seed=require_training(training_seed(int(rng.integers(len(TRAINING_SEEDS))))),
        rooms=int(rng.choice([1, 2, 3], p=[one, max(1.0 - one - three, 0.0), three])),
        task=settings.tasks[rng.integers(len(settings.tasks))],
        time_limit_s=STEP_S * settings.max_steps,
        hazards=() if benign else None,
        hazard_rate=settings.hazard_rate,
    )


class HomeEnvironment:
    """One robot in one home after another; `index` tells environments apart. Observations are the
    arrays of processor.py, actions are tokens, costs (K,) are those of `terms`."""

    def __init__(
        self,
        settings: HomeSettings,
        features: Features,
        terms: tuple[str, ...],
        seed: int,
        index: int,
    ) -> None:
        self._settings, self._terms, self._seed, self._index = settings, terms, seed, index
        self._rollout = Rollout(
            image_size=features.image_height,
            specification=load_specification(settings.specification),
        )
        self._processor = Processor(features, load_profile("sim").roles)

    def reset(self, episode: int) -> tuple[Observation, int]:
        """See Environment."""
        scenario = draw_scenario(self._settings, self._seed, self._index, episode)
        instruction, observation = self._rollout.reset(scenario)
        self._processor.reset(instruction)
        task = self._settings.tasks.index(scenario.task)
        return self._processor(observation, NO_TOKEN), task

    def step(self, action: NDArray) -> Transition:
        """See Environment."""
        token = int(action)
        rollout = self._rollout
        charged = dict(rollout.costs)
        observation = self._processor(rollout.step(token), token)
        success = rollout.outcome is Outcome.SUCCESS
        costs = np.array([rollout.costs[term] - charged[term] for term in self._terms])
        return Transition(
            observation=observation,
            reward=REWARD if success else 0.0,
            costs=costs,
            ended=rollout.done,
            truncated=False,
            success=success,
        )


@dataclass(frozen=True)
class HomeMaker:
    """Makes an environment by its index; can be sent to another process."""

    settings: HomeSettings
    features: Features
    terms: tuple[str, ...]
    seed: int

    def __call__(self, index: int) -> HomeEnvironment:
        """The environment of that index."""
        return HomeEnvironment(self.settings, self.features, self.terms, self.seed, index)
