"""The price of each cost: a convex problem in as many numbers as there are budgets, and one.

Of all reweightings of the data within a divergence of it, which has the best reward and keeps the
costs? Its dual is solved here,

    min over lambda >= 0, eta > 0 of
        eta eps + sum_k lambda_k Delta_k + eta log mean exp((A_r - sum_k lambda_k A_k) / eta)

with advantages A in units of their scales, and Delta_k how much of A_k a mean may have. At the
minimum the reweighted mean of A_k is at most Delta_k, and the divergence KL(w | data) at most eps.
Peters et al., "Relative entropy policy search", AAAI 2010, with the constraints of Lee et al.,
"COptiDICE", arXiv 2204.08957.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from safevla_ros.training.offline.weights import Tilt, effective_share, lagrangian

Floats = NDArray[np.float64]

TEMPERATURES = (1e-3, 1e3)
"""Between these eta is looked for."""
TOLERANCE = 1e-2
"""A mean this far above what is allowed [scales] still holds: the solver's precision, and what the
cap on weights takes away."""
DIVERGENCES = (1.0, 0.5, 0.25, 0.1, 0.05, 0.02, 0.01)
"""Shares of eps that are tried in turn until enough samples are left."""


@dataclass(frozen=True)
class Dual:
    """A solution: `multipliers` lambda (K,), `temperature` eta, and the reweighted means of the
    cost advantages `means` (K,)."""

    multipliers: Floats
    temperature: float
    means: Floats


@dataclass(frozen=True)
class Extraction:
    """A budget that the data supports: the solution, the divergence `eps` that it is of, the weights
    and the share of the samples that they leave."""

    dual: Dual
    eps: float
    tilt: Tilt
    effective: float


@dataclass(frozen=True)
class Unsupported:
    """A budget that it does not. `channel`: which cost is in the way; None: too few samples are
    left. `means` (K,) is what the best reweighting reaches [scales]."""

    channel: int | None
    means: Floats
    effective: float


def solve(reward: Floats, costs: Floats, allowed: Floats, eps: float, cap: float) -> Dual:
    """Solve the module's problem for advantages in reward (N,) and cost (N, K), the allowed means
    (K,) and a divergence. Multipliers are at most `cap`."""
    count = len(reward)

    def objective(x: Floats) -> tuple[float, Floats]:
        multipliers, eta = x[:-1], float(np.exp(x[-1]))
        scaled = lagrangian(reward, costs, multipliers) / eta
        log_mean = float(logsumexp(scaled)) - np.log(count)
        weights = softmax(scaled)
        value = eta * eps + multipliers @ allowed + eta * log_mean
        by_eta = eps + log_mean - float(weights @ scaled)
        return value, np.append(allowed - weights @ costs, eta * by_eta)

    found = minimize(
        objective,
        np.append(np.zeros(costs.shape[1]), 0.0),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, cap)] * costs.shape[1] + [tuple(np.log(TEMPERATURES))],
        options={"maxiter": 1000, "ftol": 1e-13, "gtol": 1e-8},
    )
    multipliers, eta = found.x[:-1], float(np.exp(found.x[-1]))
    weights = softmax(lagrangian(reward, costs, multipliers) / eta)
    return Dual(multipliers, eta, weights @ costs)


def extract(
    reward: Floats,
    costs: Floats,
    allowed: Floats,
    *,
    eps: float = 0.2,
    least_effective: float = 0.3,
    cap: float = 100.0,
    largest: float = 20.0,
) -> Extraction | Unsupported:
    """Weights that keep the costs with the largest divergence that leaves enough samples.

    A smaller divergence cannot keep what a larger one does not, so a multiplier at its cap ends it.
    """
    effective = 0.0
    for share in DIVERGENCES:
        dual = solve(reward, costs, allowed, share * eps, cap)
        advantage = lagrangian(reward, costs, dual.multipliers)
        tilt = Tilt(advantage, dual.temperature, largest)
        weights = tilt(advantage)
        means = weights @ costs / len(weights)
        excess = means - allowed
        at_cap = dual.multipliers >= 0.99 * cap
        if at_cap.any() or excess.max(initial=-np.inf) > TOLERANCE:
            worst = int(np.argmax(np.where(at_cap, np.inf, excess)))
            if at_cap.sum() > 1:
                worst = int(np.argmax(np.where(at_cap, excess, -np.inf)))
            return Unsupported(worst, means, effective_share(weights))
        effective = effective_share(weights)
        if effective >= least_effective:
            return Extraction(dual, share * eps, tilt, effective)
    return Unsupported(None, means, effective)
