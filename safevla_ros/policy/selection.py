"""How an action is chosen from logits."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Selection = Literal["argmax", "sample"]


def select(
    logits: NDArray[np.float64],
    selection: Selection,
    temperature: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Tokens (n,) and their log-probabilities (n,) for logits (n, actions).

    `sample` draws from softmax(logits / temperature), and the log-probabilities are those of that
    distribution. `argmax` takes the likeliest; its log-probabilities are those of
    softmax(logits / temperature) as well: how sure the policy was.
    """
    scaled = logits / temperature
    log_p = scaled - log_sum_exp(scaled)
    noise = rng.gumbel(size=log_p.shape) if selection == "sample" else 0.0
    tokens = np.argmax(log_p + noise, axis=1)
    return tokens, np.take_along_axis(log_p, tokens[:, np.newaxis], axis=1)[:, 0]


def log_sum_exp(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 1) of (n, actions), without overflow."""
    top = logits.max(axis=1, keepdims=True)
    return top + np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
