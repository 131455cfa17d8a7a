"""What an action adds, expected from all steps like it instead of told by the one that was recorded.

What followed a single action is mostly chance: weights made of it choose lucky steps. So what
followed is learnt from features and action, one channel at a time, and an action's advantage is how
much more is expected of it than of what the policy as it is would do there (as in critic-regularised
regression, Wang et al., arXiv 2006.15134, with returns of the data in the place of a bootstrap).
The part that chooses says by what all is scaled, since what is rare is expected too seldom. It is
also looked at after each LOOK_EVERY updates, and the best state is kept: where nothing explains
anything, the one before the first update, and all advantages are 0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from safevla_ros.training.offline.best_state import keep_best

Floats = NDArray[np.float64]
Value = Callable[[NDArray[np.float32]], Floats]
Usual = Callable[[NDArray[np.int64], Value], Floats]

HIDDEN = 128
BATCH = 512
LEARNING_RATE = 5e-4
WEIGHT_DECAY = 1e-2
DROPPED = (0.2, 0.3)
"""Shares of features and of hidden units that are left out at random while learning; actions never
are, or what they do would be underestimated."""
LOOK_EVERY = 100
ROWS = 8192


class _ActionValue(nn.Module):
    """Features (N, F) and actions (N, A) to one number (N,), in standard deviations from the mean."""

    def __init__(self, features: NDArray, actions: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(features.mean(0, dtype=np.float32)))
        self.register_buffer("std", torch.from_numpy(features.std(0, dtype=np.float32)) + 1e-3)
        last = nn.Linear(HIDDEN, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.drop = nn.Dropout(DROPPED[0])
        self.layers = nn.Sequential(
            nn.Linear(features.shape[1] + actions, HIDDEN),
            nn.ReLU(),
            nn.Dropout(DROPPED[1]),
            last,
        )

    def forward(self, features: Tensor, codes: Tensor) -> Tensor:
        """See the class."""
        seen = self.drop((features - self.mean) / self.std)
        return self.layers(torch.cat([seen, codes], dim=-1)).squeeze(-1)


def action_advantages(
    features: NDArray,
    codes: NDArray[np.float32],
    followed: Floats,
    usual: Usual,
    others: NDArray[np.float32],
    fit: NDArray[np.bool_],
    choose: NDArray[np.bool_],
    *,
    updates: int,
    seed: int,
    report: Callable[[int, int], None],
) -> Floats:
    """(N, 1 + M) advantages in steps with `features` (N, F): of the actions with `codes` (N, A), and of
    `others` (M, A) in every step.

    `followed` (N,) is what is to be expected. `usual` averages a value of actions, (M, A) to (M,),
    over those of the policy as it is in the steps of indices (M,). `fit` and `choose` (N,) say which
    steps are learnt from and looked at.
    """
    mean, std = float(followed[fit].mean()), float(followed[fit].std())
    if std == 0.0:
        return np.zeros((len(features), 1 + len(others)))
    wanted = torch.from_numpy((followed - mean) / std).float()
    value = _learnt(features, codes, wanted, fit, choose, updates, seed, report)
    found, before = np.empty((len(features), 1 + len(others))), np.empty(len(features))
    for index in np.array_split(np.arange(len(features)), len(features) // ROWS + 1):
        rows = features[index]
        before[index] = usual(index, partial(_value, value, rows))
        every = [codes[index], *(np.broadcast_to(other, codes[index].shape) for other in others)]
        values = np.stack([_value(value, rows, each) for each in every], axis=1)
        found[index] = values - before[index, None]
    came = wanted.numpy()[choose] - before[choose]
    return found * std * _scale(found[choose, 0], came)


@torch.no_grad()
def _value(value: _ActionValue, features: NDArray, codes: NDArray[np.float32]) -> Floats:
    return value(_tensor(features), _tensor(codes)).double().numpy()


def _scale(expected: Floats, came: Floats) -> float:
    """By what the expected advantages (N,) are nearest to what came more than usual (N,); 0 where it
    was rather less."""
    square = float(expected @ expected)
    return max(float(expected @ came) / square, 0.0) if square > 0.0 else 0.0


def _learnt(
    features: NDArray,
    codes: NDArray[np.float32],
    wanted: Tensor,
    fit: NDArray[np.bool_],
    choose: NDArray[np.bool_],
    updates: int,
    seed: int,
    report: Callable[[int, int], None],
) -> _ActionValue:
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    value = _ActionValue(features[fit], codes.shape[1])
    optimizer = torch.optim.AdamW(value.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    learnt, looked = np.flatnonzero(fit), np.flatnonzero(choose)

    def loss_of(index: NDArray[np.int64]) -> Tensor:
        guess = value(_tensor(features[index]), _tensor(codes[index]))
        return functional.mse_loss(guess, wanted[index])

    def look() -> float:
        value.eval()
        with torch.no_grad():
            parts = np.array_split(looked, len(looked) // ROWS + 1)
            found = sum(float(loss_of(part)) * len(part) for part in parts)
        value.train()
        return found

    keep_best(
        value,
        optimizer,
        lambda: loss_of(rng.choice(learnt, BATCH)),
        look,
        updates=updates,
        look_every=LOOK_EVERY,
        report=report,
    )
    return value.eval()


def _tensor(array: NDArray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))
