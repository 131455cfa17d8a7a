"""A constrained task of one number with a known optimum."""

import numpy as np
import torch

from safevla_ros.training.online.box import BoxEnvironment
from safevla_ros.training.online.budgets import make_constraints
from safevla_ros.training.online.gaussian import GaussianAgent
from safevla_ros.training.online.run import Run
from safevla_ros.training.online.world import LocalWorld

STEPS = 10


class Space:
    low, high = np.full(1, -2.0), np.full(1, 2.0)


class Lever:
    """How far to push: an episode is STEPS pushes a in [-2, 2], each worth 1 - (1 - a)^2 and costing
    max(a, 0). Without a constraint a = 1, which costs STEPS; with a budget d < STEPS the best is
    a = d / STEPS."""

    action_space = Space()

    def reset(self, seed):
        self.step_number = 0
        return np.array([0.0]), {}

    def step(self, action):
        self.step_number += 1
        push = float(action[0])
        return (
            np.array([self.step_number / STEPS]),
            1.0 - (1.0 - push) ** 2,
            False,
            self.step_number == STEPS,
            {"cost": max(push, 0.0)},
        )


class Broken:
    """An environment that fails when it acts."""

    def __init__(self, index):
        self.index = index

    def reset(self, episode):
        return {"observation": np.zeros(1)}, 0

    def step(self, action):
        raise ValueError(f"lever {self.index} is stuck")


def run(settings, folder, budget=3.0, world=None, report=lambda line: None):
    """A run on levers."""
    torch.manual_seed(settings.seed)
    world = world or LocalWorld([BoxEnvironment(Lever(), i) for i in range(settings.environments)])
    constraints = make_constraints({"all": {"cost": budget}}, ["lever"], ["cost"], "budgets")
    agent = GaussianAgent(1, 1, 1, hidden=(16,))
    return Run(settings, agent, world, ["lever"], constraints, folder, report)
