"""PPO-Lagrangian: PPO whose advantage is that of the reward less that of each constrained cost, each
weighed by a multiplier of its own.

    max E[sum r]  subject to  E[sum c_k] <= d_k for every k

The multipliers rise while episodes cost more than their budget and fall while they cost less
(lagrange.py); the advantage is A_L of advantages.py. SafeVLA, arXiv 2503.03480, has one multiplier
on the sum of all costs, with A = (A_r - lambda A_c) / (1 + lambda).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from safevla_ros.training.online.agent import Agent
from safevla_ros.training.online.budgets import Constraints
from safevla_ros.training.online.collector import Batch
from safevla_ros.training.online.lagrange import Multipliers
from safevla_ros.training.online.ppo import Ppo
from safevla_ros.training.online.settings import LearningSettings
from safevla_ros.training.online.windows import Measurement


class PpoLagrangian(Ppo):
    """See the module's docstring. Each row of constraints has multipliers of its own."""

    def __init__(
        self,
        agent: Agent,
        constraints: Constraints,
        settings: LearningSettings,
        generator: Generator,
    ) -> None:
        super().__init__(agent, constraints, settings, generator)
        budgets = constraints.budgets
        scales = np.full(budgets.shape, settings.multipliers.scale)
        self.lagrange = Multipliers(settings.multipliers, budgets, scales)

    def measured(self, measurement: Measurement) -> None:
        """Move the multipliers of the row that was measured; not while the policy cannot follow."""
        if self.warm:
            self.lagrange.update(measurement.row, measurement.cost)

    def multipliers(self, batch: Batch) -> Tensor:
        """(T, N, K) those of the row that each step is under."""
        return torch.from_numpy(self.lagrange.values).float()[batch.row]

    def state(self) -> dict[str, Any]:
        """For a checkpoint, multipliers and what their controller remembers included."""
        return super().state() | {"lagrange": self.lagrange.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        super().restore(state)
        self.lagrange.restore(state["lagrange"])
