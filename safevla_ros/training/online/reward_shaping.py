"""Reward shaping: PPO on the reward less a fixed penalty for each unit of cost.

The usual way to ask for safety without constraints, and the one to compare with: the penalty says
nothing about how much cost is left.
"""

from __future__ import annotations

import torch
from torch import Tensor

from safevla_ros.training.online.collector import Batch
from safevla_ros.training.online.ppo import Ppo


class RewardShaping(Ppo):
    """See the module's docstring."""

    def rewards(self, batch: Batch) -> Tensor:
        """(T, N, 1 + K) with r - penalty * sum of costs in place of the reward."""
        costs = batch.rewards[..., 1:]
        shaped = batch.rewards[..., 0] - self.settings.ppo.penalty * costs.sum(-1)
        return torch.cat([shaped.unsqueeze(-1), costs], dim=-1)
