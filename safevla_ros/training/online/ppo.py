"""Proximal policy optimisation (Schulman et al., arXiv 1707.06347), without constraints.

    rollout -> advantages (GAE) of the reward and of every cost
            -> epochs of minibatches: clipped surrogate for the policy, squared errors for the critics

Costs are watched and their critics learn, so that constraints can be put on later; they do not move
the policy. The subclasses in ppo_lagrangian.py and reward_shaping.py say what does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Generator, Tensor, nn

from safevla_ros.training.online import losses
from safevla_ros.training.online.advantages import (
    Deviations,
    generalised_advantage,
    lagrangian_advantage,
    moments,
)
from safevla_ros.training.online.agent import Agent
from safevla_ros.training.online.budgets import Constraints
from safevla_ros.training.online.collector import Batch
from safevla_ros.training.online.distributed import average_gradients, sum_over_processes
from safevla_ros.training.online.settings import LearningSettings
from safevla_ros.training.online.windows import Measurement


class Ppo:
    """Learns from one rollout after another. `generator` draws the minibatches."""

    def __init__(
        self,
        agent: Agent,
        constraints: Constraints,
        settings: LearningSettings,
        generator: Generator,
    ) -> None:
        self.agent, self.constraints, self.settings = agent, constraints, settings
        p = settings.ppo
        self.gamma = torch.tensor(
            [p.gamma, *(p.cost_gammas.get(term, p.cost_gamma) for term in constraints.terms)]
        )
        named = [(name, w) for name, w in agent.named_parameters() if w.requires_grad]
        self.policy_parameters = [w for name, w in named if not agent.is_critic(name)]
        self.critic_parameters = [w for name, w in named if agent.is_critic(name)]
        self.policy_optimizer = torch.optim.Adam(self.policy_parameters, p.learning_rate, eps=1e-5)
        self.critic_optimizer = torch.optim.Adam(
            self.critic_parameters, p.critic_learning_rate, eps=1e-5
        )
        channels = 1 + len(constraints.terms)
        self.deviations = Deviations(channels)
        self.scales = Scales(channels)
        self.updates = 0
        self._generator = generator

    @property
    def warm(self) -> bool:
        """Whether the critics have learnt enough for the policy to move."""
        return self.updates >= self.settings.ppo.warm_up

    def measured(self, measurement: Measurement) -> None:
        """Take note of what episodes cost lately."""

    def rewards(self, batch: Batch) -> Tensor:
        """(T, N, 1 + K) what the critics predict the sums of."""
        return batch.rewards

    def multipliers(self, batch: Batch) -> Tensor:
        """(T, N, K) how much each cost counts against the reward: nothing."""
        return torch.zeros_like(batch.rewards[..., 1:])

    def learn(self, batch: Batch) -> dict[str, float]:
        """One update of policy and critics; the means of what was computed, by name."""
        p = self.settings.ppo
        scale = self.scales.deviations()
        values = batch.values * scale
        advantages = generalised_advantage(
            self.rewards(batch), values, batch.next_values * scale, batch.done, self.gamma, p.decay
        )
        targets = advantages + values
        self.scales.add(targets)
        means, deviations = moments(advantages)
        deviations = self.deviations.floored(deviations)
        advantage = lagrangian_advantage(
            advantages, self.multipliers(batch), deviations.float(), means.float()
        )
        batch.observation["advantage"] = advantage
        batch.observation["target"] = targets / self.scales.deviations()
        batch.observation["old_log_prob"] = batch.log_prob
        noted = Means()
        moves = self.warm
        for _ in range(p.epochs):
            moved = [self._step(part, moves, noted) for part in self._minibatches(batch)]
            if p.target_kl is not None and _mean(sum(moved) / len(moved)) > p.target_kl:
                moves = False
        self.agent.observed(batch.observation)
        self.updates += 1
        return noted.take() | {"advantage_deviation": float(deviations[0])}

    def _step(self, part: dict[str, Tensor], moves: bool, noted: Means) -> float:
        """Learn from a minibatch; how far the policy was from the one that acted."""
        p = self.settings.ppo
        with torch.set_grad_enabled(True):
            now = self.agent.evaluate(part, part["first"], part["state"], part["action"])
        policy = losses.policy_terms(now, part["old_log_prob"], part["advantage"], p.clip)
        critics = losses.critic_terms(now, part["target"], self.constraints.terms)
        loss = sum(critics.values(), torch.zeros(()))
        if moves:
            loss = loss + policy["policy"] - p.entropy * policy["entropy"]
            loss = loss + p.reference_kl * policy["reference_kl"]
        self.policy_optimizer.zero_grad(set_to_none=True)
        self.critic_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._descend(self.critic_optimizer, self.critic_parameters)
        if moves:
            self._descend(self.policy_optimizer, self.policy_parameters)
        drift = losses.drift(now, part["old_log_prob"], p.clip)
        noted.add(policy | critics | drift)
        return float(drift["kl"])

    def _descend(self, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> None:
        average_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, self.settings.ppo.gradient_norm)
        optimizer.step()

    def _minibatches(self, batch: Batch) -> Iterator[dict[str, Tensor]]:
        """The rollout in random parts, each of whole sequences: the environments' for an agent with
        memory, single steps for one without; arrays (B, T, ...), `state` (B, width)."""
        steps = {
            **batch.observation,
            "first": batch.first,
            "action": batch.action,
        }
        if self.agent.recurrent:
            sequences = {key: array.transpose(0, 1) for key, array in steps.items()}
            state = batch.state
        else:
            sequences = {key: array.flatten(0, 1).unsqueeze(1) for key, array in steps.items()}
            state = batch.state.repeat(len(batch.first), 1)
        device = self.policy_parameters[0].device
        order = torch.randperm(len(state), generator=self._generator)
        for rows in order.chunk(self.settings.ppo.minibatches):
            part = {key: array[rows].to(device) for key, array in sequences.items()}
            yield part | {"state": state[rows].to(device)}

    def state(self) -> dict[str, Any]:
        """For a checkpoint; nested."""
        return {
            "agent": self.agent.state_dict(),
            "policy_optimizer": self.policy_optimizer.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
            "largest_deviation": self.deviations.largest,
            "scales": self.scales.sums,
            "updates": self.updates,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        self.agent.load_state_dict(state["agent"])
        self.policy_optimizer.load_state_dict(state["policy_optimizer"])
        self.critic_optimizer.load_state_dict(state["critic_optimizer"])
        self.deviations.largest = state["largest_deviation"]
        self.scales.sums = state["scales"]
        self.updates = state["updates"]


class Scales:
    """The unit of each critic: the standard deviation of its targets so far, 1 before there is any.
    Sums of rewards and costs differ by orders of magnitude; the networks should not see it."""

    def __init__(self, channels: int) -> None:
        self.sums = torch.zeros(3, channels, dtype=torch.float64)
        """Count, sum and sum of squares. Kept in the checkpoint."""

    def add(self, targets: Tensor) -> None:
        """Count targets (..., channels) of all processes."""
        flat = targets.flatten(0, -2).double()
        self.sums += sum_over_processes(
            torch.stack([torch.full_like(flat[0], len(flat)), flat.sum(0), flat.square().sum(0)])
        )

    def deviations(self) -> Tensor:
        """(channels,)"""
        count, first, second = self.sums
        count = count.clamp_min(1.0)
        variance = second / count - (first / count).square()
        return torch.where(variance > 1e-12, variance.clamp_min(0.0).sqrt(), 1.0).float()


class Means:
    """Means of named terms over minibatches."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, terms: dict[str, Tensor]) -> None:
        """Count the terms of a minibatch."""
        for name, term in terms.items():
            self._sums[name] += float(term.detach())
            self._counts[name] += 1

    def take(self) -> dict[str, float]:
        """The means, by name."""
        return {name: total / self._counts[name] for name, total in self._sums.items()}


def _mean(value: float) -> float:
    """The mean of every process's value."""
    total = sum_over_processes(torch.tensor([value, 1.0], dtype=torch.float64))
    return float(total[0] / total[1])
