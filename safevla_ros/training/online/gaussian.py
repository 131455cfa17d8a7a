"""A small Gaussian actor-critic for control tasks with actions in a box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn
from torch.distributions import Normal

from safevla_ros.training.online.agent import Acted, Agent
from safevla_ros.training.online.distributed import sum_over_processes
from safevla_ros.training.online.losses import Evaluation

OBSERVATION = "observation"
CLIP = 10.0
"""Normalised observations are clipped to this."""


class GaussianAgent(Agent):
    """Normal actions with a mean of the observation and a deviation of their own; critics apart.

    Orthogonal weights and tanh units, as in CleanRL's PPO for continuous actions. Observations are
    normalised by their running mean and deviation.
    """

    recurrent = False
    count: Tensor
    mean: Tensor
    square: Tensor

    def __init__(
        self,
        observations: int,
        actions: int,
        costs: int,
        hidden: Sequence[int] = (64, 64),
        log_deviation: float = -0.5,
    ) -> None:
        super().__init__()
        self.actor = _network([observations, *hidden, actions], 0.01)
        self.log_deviation = nn.Parameter(torch.full((actions,), log_deviation))
        self.critics = nn.ModuleList(
            _network([observations, *hidden, 1], 1.0) for _ in range(1 + costs)
        )
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(observations, dtype=torch.float64))
        self.register_buffer("square", torch.zeros(observations, dtype=torch.float64))

    def initial_state(self, environments: int) -> Tensor:
        """See Agent: nothing is remembered."""
        return torch.zeros(environments, 0)

    @torch.no_grad()
    def act(
        self, observation: Mapping[str, Tensor], first: Tensor, state: Tensor, generator: Generator
    ) -> Acted:
        """See Agent."""
        seen = self._normalised(observation[OBSERVATION])
        mean, deviation = self.actor(seen), self.log_deviation.exp()
        action = mean + deviation * torch.randn(mean.shape, generator=generator)
        log_prob = Normal(mean, deviation).log_prob(action).sum(-1)
        return Acted(action, log_prob, self._values(seen), state, {})

    def evaluate(
        self, observation: Mapping[str, Tensor], first: Tensor, state: Tensor, action: Tensor
    ) -> Evaluation:
        """See Agent."""
        seen = self._normalised(observation[OBSERVATION])
        distribution = Normal(self.actor(seen), self.log_deviation.exp())
        log_prob = distribution.log_prob(action).sum(-1)
        return Evaluation(
            log_prob,
            distribution.entropy().sum(-1),
            torch.zeros_like(log_prob),
            self._values(seen),
        )

    @torch.no_grad()
    def mean_action(self, observation: Mapping[str, Tensor]) -> Tensor:
        """(N, actions) the likeliest actions."""
        return self.actor(self._normalised(observation[OBSERVATION]))

    def is_critic(self, parameter: str) -> bool:
        """See Agent."""
        return parameter.startswith("critics.")

    @torch.no_grad()
    def observed(self, observation: Mapping[str, Tensor]) -> None:
        """See Agent."""
        flat = observation[OBSERVATION].flatten(0, 1).double()
        count = torch.tensor([float(len(flat))], dtype=torch.float64)
        sums = sum_over_processes(torch.cat([count, flat.sum(0), flat.square().sum(0)]))
        width = len(self.mean)
        total = self.count + sums[0]
        self.mean.add_((sums[1 : 1 + width] - sums[0] * self.mean) / total)
        self.square.add_((sums[1 + width :] - sums[0] * self.square) / total)
        self.count.copy_(total)

    def _normalised(self, observation: Tensor) -> Tensor:
        if not self.count:
            return observation.float()
        deviation = (self.square - self.mean.square()).clamp_min(1e-8).sqrt()
        return ((observation - self.mean) / deviation).clamp(-CLIP, CLIP).float()

    def _values(self, seen: Tensor) -> Tensor:
        return torch.cat([critic(seen) for critic in self.critics], dim=-1)


def _network(widths: Sequence[int], last_gain: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layer = nn.Linear(before, after)
        nn.init.orthogonal_(layer.weight, 2.0**0.5)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.Tanh()]
    nn.init.orthogonal_(layer.weight, last_gain)
    return nn.Sequential(*layers[:-1])
