"""What the data says of each budget: advantages in units of their scales, and the lessons of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safevla_ros.training.offline import budgets
from safevla_ros.training.offline.advantages import discounted
from safevla_ros.training.offline.data import FIT, OfflineData
from safevla_ros.training.offline.dual import Extraction, Unsupported, extract
from safevla_ros.training.offline.settings import OfflineSettings
from safevla_ros.training.offline.weights import lagrangian

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Lesson:
    """A budget (K,) that is taught, what the data supports for it, and the Lagrangian advantage
    above which an action counts as a good one."""

    budget: Floats
    extraction: Extraction
    good: float


@dataclass(frozen=True)
class Priced:
    """Advantages of every step in reward (N,) and costs (N, K), in units of `scales` (K,) and of the
    return's, less their means over `samples` (N,), which are cloned; `others_reward`
    (N, M) and `others_cost` (N, M, K) are the same of other actions there. `window`: mean steps that
    those in cost are over. `steps`, `costs` (E, K) and `success` (E,) of the episodes that are fitted."""

    reward: Floats
    cost: Floats
    scales: Floats
    samples: NDArray[np.bool_]
    window: float
    steps: float
    costs: Floats
    success: NDArray[np.bool_]
    others_reward: Floats
    others_cost: Floats


def price(data: OfflineData, advantages: Floats, settings: OfflineSettings) -> Priced:
    """Advantages (N, 1 + K, 1 + M), the reward's and the recorded action's first, in their units. Those
    in cost are over as many steps as `window` says: fewer than without an end, where episodes are short or many steps are cut."""
    columns, fitted = data.columns, data.fitted
    samples = data.steps_of(FIT) & columns.imitable
    costs = columns.sums(columns.charged)[fitted]
    returns = columns.sums(columns.reward)[fitted]
    scales = budgets.cost_scales(costs, asked(settings))
    centred = advantages - advantages[samples, :, :1].mean(axis=0)
    steps = discounted(np.ones(len(columns)), columns.last, columns.cut, settings.discount)
    reward = centred[:, 0] / budgets.return_scale(returns)
    cost = np.swapaxes(centred[:, 1:], 1, 2) / scales
    return Priced(
        reward=reward[:, 0],
        cost=cost[:, 0],
        others_reward=reward[:, 1:],
        others_cost=cost[:, 1:],
        scales=scales,
        samples=samples,
        window=float(steps[samples].mean()),
        steps=float(np.bincount(columns.episode)[fitted].mean()),
        costs=costs,
        success=returns > 0.0,
    )


def asked(settings: OfflineSettings) -> Floats:
    """(K,) the budgets that a run is to keep."""
    return np.array([settings.budgets[term] for term in settings.terms])


def teach(
    priced: Priced,
    settings: OfflineSettings,
    tightened: Floats,
    report: Callable[[int, int], None],
) -> tuple[Lesson, ...] | Unsupported:
    """A lesson for each budget that the data supports when it is lowered by `tightened` (K,). The
    first is the budget that the run is to keep; where the data does not support that, the answer is
    why."""
    rng = np.random.default_rng(settings.seed)
    vectors = budgets.budget_vectors(
        priced.costs, priced.scales, asked(settings), settings.budget_vectors, rng
    )
    held = priced.costs.mean(axis=0)
    reward, cost = priced.reward[priced.samples], priced.cost[priced.samples]
    lessons = []
    for number, vector in enumerate(vectors):
        report(number, len(vectors))
        found = extract(
            reward,
            cost,
            budgets.allowed_means(
                vector - tightened, held, priced.scales, priced.window, priced.steps
            ),
            eps=settings.eps,
            least_effective=settings.least_effective,
            cap=settings.multiplier_cap,
            largest=settings.largest_weight,
        )
        if isinstance(found, Extraction):
            advantage = lagrangian(reward, cost, found.dual.multipliers)
            good = float(np.quantile(advantage, 1.0 - settings.positive))
            lessons.append(Lesson(vector, found, good))
        elif number == 0:
            return found
    report(len(vectors), len(vectors))
    return tuple(lessons)
