"""Budgets: which ones a policy is taught, what they allow, and how it is told what remains."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from safevla_ros.policy.vla.processor import BUDGET_RANGE

Floats = NDArray[np.float64]

LEAST_SCALE = 1e-3
LEAST_RETURN_SCALE = 1.0
"""Where all episodes end alike, a tenth of a success stands for how much returns differ."""


def cost_scales(costs: Floats, budgets: Floats) -> Floats:
    """(K,) unit of each cost: the standard deviation of episode costs (E, K), but at least a tenth
    of its budget (K,)."""
    return np.maximum(np.maximum(costs.std(axis=0), 0.1 * budgets), LEAST_SCALE)


def return_scale(returns: Floats) -> float:
    """Unit of the reward: the standard deviation of the episodes' returns (E,)."""
    return max(float(returns.std()), LEAST_RETURN_SCALE)


def budget_vectors(
    costs: Floats, scales: Floats, budgets: Floats, count: int, rng: np.random.Generator
) -> Floats:
    """(count, K) budgets to teach: first the one asked for, then each channel by itself log-uniform
    between the 5 % and 95 % quantiles of episode costs (E, K). A tenth of a scale stands for zero,
    which has no logarithm."""
    low, high = np.quantile(costs, [0.05, 0.95], axis=0)
    low = np.maximum(low, 0.1 * scales)
    high = np.maximum(high, low)
    drawn = np.exp(rng.uniform(np.log(low), np.log(high), (count - 1, len(budgets))))
    return np.concatenate([budgets[None], drawn])


def allowed_means(
    budgets: Floats, held: Floats, scales: Floats, window: float, steps: float
) -> Floats:
    """(K,) what the mean cost advantage over windows of `window` steps may be [scales]: the episodes
    of the data cost `held` (K,) over `steps` steps, and shall cost `budgets` (K,)."""
    return window * (budgets - held) / (scales * steps)


def told(remaining: Floats, scales: Floats) -> NDArray[np.float32]:
    """(T, 2K) input of a policy that knows the remaining budgets (T, K): the same as processor.py
    makes on a robot."""
    low, high = BUDGET_RANGE
    values = np.clip(remaining / scales, low, high)
    return np.concatenate([values, np.ones_like(values)], axis=1).astype(np.float32)


def untold(steps: int, terms: int) -> NDArray[np.float32]:
    """(T, 2K) input of a policy that knows of no budget."""
    return np.zeros((steps, 2 * terms), np.float32)
