"""When bags do not support a budget: which cost is in the way, what the bags hold, what to record."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from safevla_ros.training.offline.dual import Unsupported
from safevla_ros.training.offline.settings import OfflineError, OfflineSettings

Floats = NDArray[np.float64]

ENOUGH_EPISODES = 100
"""Episodes within the budget that the advice aims at."""


class NotSupported(OfflineError):
    """These bags do not support the budget. `term`: which one is in the way; empty: all together."""

    def __init__(self, sentence: str, term: str = "") -> None:
        super().__init__(sentence)
        self.term = term


def not_supported(
    found: Unsupported, settings: OfflineSettings, costs: Floats, success: NDArray[np.bool_]
) -> NotSupported:
    """The answer, for episodes that are fitted, with costs (E, K) and success (E,)."""
    budgets = np.array([settings.budgets[term] for term in settings.terms])
    within = np.all(costs <= budgets, axis=1)
    if found.channel is None:
        asked = ", ".join(f"{term}={settings.budgets[term]:g}" for term in settings.terms)
        return NotSupported(
            f"these bags do not support {asked}: every reweighting that keeps it rests on "
            f"{found.effective:.0%} of the samples, expected at least "
            f"{settings.least_effective:.0%}; {_held(within, success)}; {_advice(within)}"
        )
    term = settings.terms[found.channel]
    cost = costs[:, found.channel]
    below = cost <= settings.budgets[term]
    low, middle, high = np.quantile(cost, [0.05, 0.5, 0.95])
    return NotSupported(
        f"these bags do not support {term}={settings.budgets[term]:g}: their episodes cost "
        f"{cost.mean():.3g} on average (5 %: {low:.3g}, median {middle:.3g}, 95 %: {high:.3g}), and no "
        f"reweighting of what was done in them comes down to it; {_held(below, success)}; "
        f"{_advice(below)}, or ask for a larger budget",
        term,
    )


def _held(within: NDArray[np.bool_], success: NDArray[np.bool_]) -> str:
    return (
        f"{int(within.sum())} of {len(within)} episodes are within it, {int((within & success).sum())} "
        "of these succeeded"
    )


def _advice(within: NDArray[np.bool_]) -> str:
    more = max(
        ENOUGH_EPISODES - int(within.sum()), math.ceil(0.5 * len(within)) - int(within.sum())
    )
    return (
        f"record about {max(more, 10)} more episodes that keep it, in the same places: driven by a "
        "person, by a careful policy, or with the gate in enforce"
    )
