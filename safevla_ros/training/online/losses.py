"""The losses of PPO as pure functions that return named terms (Schulman et al., arXiv 1707.06347).

Tensors have (B, T) in front: B sequences of T steps, the same for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Evaluation(NamedTuple):
    """What an actor-critic says of recorded steps: `log_prob`, `entropy` (B, T) of the actions that
    were taken; `reference_kl` (B, T): KL(policy || the policy it started from), 0 without one;
    `values` (B, T, 1 + K): of the reward and of each cost, in units of their scales."""

    log_prob: Tensor
    entropy: Tensor
    reference_kl: Tensor
    values: Tensor


def policy_terms(
    now: Evaluation, old_log_prob: Tensor, advantage: Tensor, clip: float
) -> dict[str, Tensor]:
    """`policy`: the clipped surrogate; `entropy` and `reference_kl`: means; all to be weighted by
    the caller (entropy with a negative weight)."""
    ratio = (now.log_prob - old_log_prob).exp()
    clipped = ratio.clamp(1.0 - clip, 1.0 + clip)
    return {
        "policy": -torch.minimum(ratio * advantage, clipped * advantage).mean(),
        "entropy": now.entropy.mean(),
        "reference_kl": now.reference_kl.mean(),
    }


def critic_terms(now: Evaluation, targets: Tensor, terms: Sequence[str]) -> dict[str, Tensor]:
    """Half the mean squared error of each critic, by name: `value`, and `cost_value/<term>`.
    `targets` (B, T, 1 + K), in the critics' units."""
    errors = 0.5 * (now.values - targets).square().flatten(0, 1).mean(0)
    names = ["value", *(f"cost_value/{term}" for term in terms)]
    return dict(zip(names, errors, strict=True))


def drift(now: Evaluation, old_log_prob: Tensor, clip: float) -> dict[str, Tensor]:
    """How far the policy has moved from the one that acted: `kl` (the estimator k3 of Schulman,
    which is never negative), and `clipped`, the share of steps whose ratio is beyond the clip."""
    with torch.no_grad():
        log_ratio = now.log_prob - old_log_prob
        ratio = log_ratio.exp()
        return {
            "kl": (ratio - 1.0 - log_ratio).mean(),
            "clipped": ((ratio - 1.0).abs() > clip).float().mean(),
        }
