"""What a policy would cost, by fitted Q evaluation (Le et al., "Batch policy learning under
constraints", arXiv 1903.08738): an estimate, not a test.

Q begins at the returns to go of the data, and then follows the policy: in each step of the data the
policy's own action is drawn for the step that follows. Every channel has `heads` heads that each
count episodes as often as a bootstrap drew them (Osband et al., arXiv 1602.04621); how far they
differ says how little the data knows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

Floats = NDArray[np.float64]
Draw = Callable[[NDArray[np.int64]], NDArray[np.float32]]

HIDDEN = 256
BATCH = 512
TARGET_EVERY = 50
"""Updates between copies to the network that targets are read from."""
LARGEST = 2.0
"""Largest return there may be, in those of the data; no guess is further from 0."""
WARM_UP = 0.3
"""Share of the updates that learn the data's own returns first."""


@dataclass(frozen=True)
class Transitions:
    """Steps of episodes, one episode after another: `features` (N, F), `codes` (N, A) of the
    actions, `values` (N, C) what each step gave, `returns` (N, C) to go, `last` and `usable` (N,)
    (an action is known), `episode` (N,)."""

    features: NDArray
    codes: NDArray[np.float32]
    values: Floats
    returns: Floats
    last: NDArray[np.bool_]
    usable: NDArray[np.bool_]
    episode: NDArray[np.int64]


class QFunction(nn.Module):
    """Features (N, F) and actions (N, A) to (N, C, heads), in units of `scales` (C,)."""

    def __init__(self, features: int, actions: int, channels: int, heads: int) -> None:
        super().__init__()
        self.shape = (channels, heads)
        self.norm = nn.LayerNorm(features)
        self.layers = nn.Sequential(
            nn.Linear(features + actions, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, channels * heads),
        )

    def forward(self, features: Tensor, codes: Tensor) -> Tensor:
        """See the class."""
        x = torch.cat([self.norm(features), codes], dim=-1)
        return self.layers(x).unflatten(-1, self.shape)


def evaluate_policy(
    data: Transitions,
    draw: Draw,
    fit: NDArray[np.bool_],
    first: NDArray[np.int64],
    *,
    heads: int,
    updates: int,
    seed: int,
    report: Callable[[int, int], None],
    draws: int = 16,
) -> Floats:
    """(C, heads) mean return of episodes that begin in the steps `first`, by channel.

    `draw` gives the policy's actions (M, A) in the steps of the indices (M,); `fit` (N,) says which
    steps are learnt from. Returns are taken to be at most twice the largest of the data, since a
    policy may do worse than what was recorded. None is below 0, but a guess may be: where hardly any
    step costs anything, lifting those to 0 would add up to several times the cost of an episode.
    """
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    channels = data.values.shape[1]
    scale = np.maximum(data.returns[fit].max(axis=0), 1e-6)
    q = QFunction(data.features.shape[1], data.codes.shape[1], channels, heads)
    target = QFunction(data.features.shape[1], data.codes.shape[1], channels, heads)
    optimizer = torch.optim.Adam(q.parameters(), 5e-4)
    counts = torch.from_numpy(
        rng.poisson(1.0, (int(data.episode.max()) + 1, heads)).astype(np.float32)
    )
    learnt = np.flatnonzero(fit & data.usable)
    warm = round(WARM_UP * updates)
    for update in range(updates):
        index = rng.choice(learnt, BATCH)
        if update < warm:
            wanted = _tensor(data.returns[index] / scale).unsqueeze(-1).expand(-1, -1, heads)
        else:
            if (update - warm) % TARGET_EVERY == 0:
                target.load_state_dict(q.state_dict())
            wanted = _targets(data, draw, target, index, scale)
        losses = functional.mse_loss(
            q(_tensor(data.features[index]), _tensor(data.codes[index])), wanted, reduction="none"
        )
        loss = (losses * counts[data.episode[index]].unsqueeze(1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (update + 1) % TARGET_EVERY == 0:
            report(update + 1, updates)
    features = _tensor(data.features[first])
    with torch.no_grad():
        found = [q(features, _tensor(draw(first))).mean(0) for _ in range(draws)]
    return torch.stack(found).mean(0).double().numpy().clip(max=LARGEST) * scale[:, None]


def _targets(
    data: Transitions, draw: Draw, target: QFunction, index: NDArray[np.int64], scale: Floats
) -> Tensor:
    """(B, C, heads): what the step gave, and what the policy makes of the next one."""
    following = np.minimum(index + 1, len(data.last) - 1)
    with torch.no_grad():
        beyond = target(_tensor(data.features[following]), _tensor(draw(following)))
        beyond = beyond.clamp(-LARGEST, LARGEST) * _tensor(~data.last[index])[:, None, None]
        return _tensor(data.values[index] / scale).unsqueeze(-1) + beyond


def _tensor(array: NDArray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))
