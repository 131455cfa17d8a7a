"""What is still to come from a state on: the reward and each cost, as the data has it.

In sample: returns to go of the data itself, undiscounted, never weighted, from features of the
policy that are not trained further. A return is learnt as a distribution over bins, with two-hot
targets whose mean is exactly the return (Bellemare et al., arXiv 1707.06887; Hafner et al., arXiv
2301.04104): rare costs do not drag a squared error about. After each pass the part that chooses is
looked at, and the best pass is kept, so that what was memorised is not taken for expected.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from safevla_ros.training.offline.best_state import keep_best

Floats = NDArray[np.float64]

BINS = 51
HIDDEN = 256
BATCH = 512
LOOK_EVERY = 50
"""Updates between looks at the part that chooses."""
STEP_UNIT = 100.0
"""Steps; the number of the step in this unit is given beside the features, since what is to come is
bounded by the time that is left."""


class TwoHot:
    """Bins (C, BINS) between 0 and the largest value of each of C channels."""

    def __init__(self, largest: Tensor) -> None:
        top = torch.where(largest > 0.0, largest, torch.ones_like(largest))
        self.bins = torch.linspace(0.0, 1.0, BINS) * top[:, None]

    def encode(self, values: Tensor) -> Tensor:
        """(N, C, BINS) weights on the two bins around each of the values (N, C)."""
        width = self.bins[:, 1]
        at = (values / width).clamp(0.0, BINS - 1.0)
        low = at.floor().clamp_max(BINS - 2).long()
        share = (at - low).unsqueeze(-1)
        encoded = torch.zeros(*values.shape, BINS)
        encoded.scatter_(-1, low.unsqueeze(-1), 1.0 - share)
        encoded.scatter_add_(-1, low.unsqueeze(-1) + 1, share)
        return encoded

    def decode(self, logits: Tensor) -> Tensor:
        """(N, C) means of distributions with logits (N, C, BINS)."""
        return (torch.softmax(logits, dim=-1) * self.bins).sum(-1)


class Critics(nn.Module):
    """Features (N, F) to logits (N, C, BINS)."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.layers = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, channels * BINS),
        )

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        return self.layers(features).unflatten(-1, (self.channels, BINS))


def fit_critics(
    features: NDArray,
    targets: Floats,
    known: NDArray[np.bool_],
    fit: NDArray[np.bool_],
    choose: NDArray[np.bool_],
    *,
    updates: int,
    seed: int,
    report: Callable[[int, int], None],
) -> Floats:
    """(N, C) expected returns to go, for `targets` (N, C) of features (N, F); `known` (N, C) says
    which targets there are, `fit` and `choose` (N,) which steps are learnt from and looked at."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    goal = torch.from_numpy(targets).float()
    mask = torch.from_numpy(known).float()
    two_hot = TwoHot(goal[torch.from_numpy(fit)].amax(0))
    critics = Critics(features.shape[1], targets.shape[1])
    optimizer = torch.optim.AdamW(critics.parameters(), 1e-3, weight_decay=1e-3)

    def loss_of(index: NDArray[np.int64]) -> Tensor:
        logits = critics(_rows(features, index))
        wanted = two_hot.encode(goal[index])
        losses = -(wanted * functional.log_softmax(logits, dim=-1)).sum(-1)
        return (losses * mask[index]).sum() / mask[index].sum().clamp_min(1.0)

    learnt, looked = np.flatnonzero(fit), np.flatnonzero(choose)
    looked = looked[:: max(1, len(looked) // 4096)]

    @torch.no_grad()
    def look() -> float:
        return float(loss_of(looked))

    keep_best(
        critics,
        optimizer,
        lambda: loss_of(rng.choice(learnt, BATCH)),
        look,
        updates=updates,
        look_every=LOOK_EVERY,
        report=report,
    )
    with torch.no_grad():
        parts = [
            two_hot.decode(critics(_rows(features, index)))
            for index in np.array_split(np.arange(len(features)), len(features) // 4096 + 1)
        ]
    return torch.cat(parts).double().numpy()


def with_step(features: NDArray, step: NDArray[np.int64]) -> NDArray:
    """(N, F + 1) features with the number of the step."""
    return np.concatenate([features, (step[:, None] / STEP_UNIT).astype(features.dtype)], axis=1)


def _rows(features: NDArray, index: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(features[index].astype(np.float32))
