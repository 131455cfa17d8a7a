"""Losses of imitation, as named terms: the expert's token, and what the policy should have seen.

All tensors have (B, T) in front; `weight` (B, T) is that of each step. Losses are means over the
weighted steps.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

POSITIVE_WEIGHT = 8.0
"""Weight of a square that shows what is asked for: most do not."""


def mean_over(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of (B, T) values by (B, T) weights; 0 where all weights are 0."""
    return (values * weight).sum() / weight.sum().clamp_min(1.0)


def cloning(logits: Tensor, label: Tensor, weight: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy of logits (B, T, actions) with the expert's tokens (B, T)."""
    losses = functional.cross_entropy(
        logits.flatten(0, 1).float(), label.flatten(), reduction="none", label_smoothing=smoothing
    )
    return mean_over(losses.view_as(weight), weight)


def keyframes(weight: Tensor, label: Tensor, factor: float) -> Tensor:
    """Weights (B, T) with `factor` times as much where the expert begins something else (`label`
    differs from that of the step before).

    Most steps go on as the one before, so a policy learns to repeat itself sooner than to look, and
    turns past its target. Wen et al., "Keyframe-focused visual imitation learning", arXiv
    2106.06452.
    """
    begins = torch.zeros_like(label, dtype=torch.bool)
    begins[:, 1:] = label[:, 1:] != label[:, :-1]
    return torch.where(begins, factor * weight, weight)


def perception(auxiliary: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Losses of the auxiliary heads `visible`, `place` (judged only where the target is visible)
    and `free_ahead` [m]; see Output of policy/vla/modeling.py."""
    visible = batch["target_visible"].float()
    place = functional.smooth_l1_loss(
        auxiliary["place"].float(), place_of(batch["target_in_base"]), reduction="none"
    )
    return {
        "visible": functional.binary_cross_entropy_with_logits(
            auxiliary["visible"].float(), visible
        ),
        "place": mean_over(place.mean(-1), visible),
        "free_ahead": functional.smooth_l1_loss(
            auxiliary["free_ahead"].float(), batch["free_ahead"]
        ),
    }


def shown(classes: Tensor, count: int) -> Tensor:
    """(B, T, count, G, G) whether squares show each class, from bits (B, T, G, G)."""
    bits = torch.arange(count, device=classes.device)[:, None, None]
    return (classes.int().unsqueeze(2) >> bits) & 1 > 0


def grounding(logits: Tensor, there: Tensor) -> Tensor:
    """Cross-entropy of logits (B, T, C, G, G) that squares show each class with whether they do."""
    return functional.binary_cross_entropy_with_logits(
        logits.float(),
        there.float(),
        pos_weight=torch.tensor(POSITIVE_WEIGHT, device=logits.device),
    )


def told_apart(logits: Tensor, there: Tensor) -> tuple[int, int]:
    """Of the squares that show one class: for how many is its logit the highest; and how many."""
    one = there.sum(2) == 1
    right = logits.argmax(2)[one] == there.float().argmax(2)[one]
    return int(right.sum()), int(one.sum())


def place_of(target_in_base: Tensor) -> Tensor:
    """(..., 3) sine and cosine of the bearing, and logarithm of the distance [m], of positions
    (..., 3) in the base frame [m]."""
    x, y = target_in_base[..., 0], target_in_base[..., 1]
    distance = torch.hypot(x, y).clamp_min(0.1)
    return torch.stack([y / distance, x / distance, distance.log()], dim=-1)
