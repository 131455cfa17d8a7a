"""From rewards and costs to what the policy is moved by.

Channel 0 is the reward, the others are the costs: shapes (T, N, 1 + K), T steps of N environments.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from safevla_ros.training.online.distributed import sum_over_processes

LEAST_DEVIATION = 0.05
"""Standard deviations of advantages do not fall below this share of their maximum so far."""


def generalised_advantage(
    rewards: Tensor, values: Tensor, next_values: Tensor, done: Tensor, gamma: Tensor, decay: float
) -> Tensor:
    """GAE (Schulman et al., arXiv 1506.02438) of each channel, (T, N, C).

    `rewards`, `values` (T, N, C). `next_values` (T, N, C): value of the state that follows; 0 where
    nothing does. `done` (T, N) bool: the next step belongs to another episode. `gamma` (C,).
    """
    advantages = torch.zeros_like(values)
    after = torch.zeros_like(values[0])
    deltas = rewards + gamma * next_values - values
    for step in reversed(range(len(rewards))):
        goes_on = (~done[step]).to(values.dtype).unsqueeze(-1)
        after = deltas[step] + gamma * decay * goes_on * after
        advantages[step] = after
    return advantages


def lagrangian_advantage(
    advantages: Tensor, multipliers: Tensor, deviations: Tensor, means: Tensor
) -> Tensor:
    """A_L = (A_r / sd_r - sum_k lambda_k (A_k - mean_k) / sd_k) / (1 + sum_k lambda_k), (...).

    `advantages` (..., 1 + K), `multipliers` (..., K), `deviations` and `means` (1 + K,). The
    division keeps the size of a policy's steps the same, whatever the multipliers are.
    """
    reward = advantages[..., 0] / deviations[0]
    costs = (advantages[..., 1:] - means[1:]) / deviations[1:]
    return (reward - (multipliers * costs).sum(-1)) / (1.0 + multipliers.sum(-1))


def moments(advantages: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (C,) of (..., C) over all processes."""
    flat = advantages.flatten(0, -2).double()
    count = torch.tensor([len(flat)], dtype=torch.float64)
    sums = sum_over_processes(torch.cat([count, flat.sum(0), flat.square().sum(0)]))
    first, second = sums[1:].div(sums[0]).chunk(2)
    return first, (second - first.square()).clamp_min(0.0).sqrt()


@dataclass
class Deviations:
    """Standard deviations of the advantages, kept off zero: where a cost has become rare, its noise
    would else weigh as much as the cost did."""

    channels: int
    largest: Tensor = field(init=False)
    """(C,) the largest so far. Kept in the checkpoint."""

    def __post_init__(self) -> None:
        self.largest = torch.zeros(self.channels, dtype=torch.float64)

    def floored(self, deviations: Tensor) -> Tensor:
        """(C,) deviations that are at least LEAST_DEVIATION of their maximum so far."""
        self.largest = torch.maximum(self.largest, deviations)
        return torch.maximum(deviations, LEAST_DEVIATION * self.largest).clamp_min(1e-8)
