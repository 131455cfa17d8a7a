"""From Lagrangian advantages to the weights of cloning, and how many samples they leave."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def lagrangian(reward: Floats, costs: Floats, multipliers: Floats) -> Floats:
    """(N,) advantage in reward (N,) less the priced advantages in cost (N, K)."""
    return reward - costs @ multipliers


def effective_share(weights: Floats) -> float:
    """Share of the samples that weights (N,) leave: mean(w)^2 / mean(w^2), 1 where all are equal
    (Kish, Survey Sampling, 1965)."""
    mean_square = float(np.mean(np.square(weights)))
    return float(np.mean(weights)) ** 2 / mean_square if mean_square > 0.0 else 0.0


class Tilt:
    """Weights exp(A / temperature), at most `largest` times their mean, and of mean 1 over the
    advantages (N,) that it was made from; any step's advantage has a weight."""

    def __init__(self, advantage: Floats, temperature: float, largest: float = 20.0) -> None:
        self._temperature = temperature
        self._largest = largest
        scaled = advantage / temperature
        top = float(scaled.max())
        self._log_mean = top + float(np.log(np.mean(np.exp(scaled - top))))
        self._mean = 1.0
        self._mean = float(self(advantage).mean())

    def __call__(self, advantage: Floats) -> Floats:
        """Weights of advantages, of the same shape."""
        scaled = np.minimum(advantage / self._temperature - self._log_mean, np.log(self._largest))
        return np.exp(scaled) / self._mean
