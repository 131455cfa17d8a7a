"""What a policy would cost, from episodes that another one played: importance sampling.

Per decision, each cost weighted with how much likelier the policy was to have got there (Precup,
Sutton and Singh, "Eligibility traces for off-policy policy evaluation", ICML 2000). The bound is
Student's (Thomas et al., "High confidence policy improvement", ICML 2015): near enough where many
episodes carry the mean, and worthless where a few do. So it is given only with an effective sample
of LEAST_EPISODES.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

Floats = NDArray[np.float64]

LEAST_EPISODES = 20
LARGEST_LOG_RATIO = 50.0


@dataclass(frozen=True)
class Bound:
    """`estimate` of an episode's cost and its upper bound. `effective`: episodes that carry it."""

    estimate: float
    upper: float
    effective: float

    @property
    def valid(self) -> bool:
        """Whether there are enough episodes."""
        return self.effective >= LEAST_EPISODES


def ratios(log_ratio: Floats, last: NDArray[np.bool_]) -> Floats:
    """(N,) product of policy over behaviour from each episode's first step to this one, of their
    logarithms (N,) by step."""
    sums = np.cumsum(log_ratio)
    ends = np.flatnonzero(last)
    before = np.concatenate([[0.0], sums[ends[:-1]]])
    episode = np.searchsorted(ends, np.arange(len(log_ratio)))
    return np.exp(np.minimum(sums - before[episode], LARGEST_LOG_RATIO))


def per_decision(ratio: Floats, values: Floats, last: NDArray[np.bool_]) -> Floats:
    """(E,) each episode's sum of `values` (N,) weighted with `ratio` (N,)."""
    first = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    # Not by differences of one running sum: ratios of other episodes may be many powers larger.
    return np.add.reduceat(ratio * values, first)


def effective_episodes(ratio: Floats, last: NDArray[np.bool_]) -> float:
    """How many episodes carry the estimate: (sum w)^2 / sum w^2 over the whole episodes' ratios."""
    whole = ratio[last]
    whole = whole / whole.max() if whole.max() > 0.0 else whole
    squares = float(np.square(whole).sum())
    return float(whole.sum()) ** 2 / squares if squares > 0.0 else 0.0


def upper_bound(
    log_ratio: Floats,
    costs: Floats,
    last: NDArray[np.bool_],
    *,
    error: float,
    largest_cost: float,
) -> Bound:
    """Bound on the mean cost of an episode that is exceeded with probability `error`.

    Where no episode cost anything, a deviation of 0 would promise too much: then it is the highest
    rate of costly episodes that leaves none among so many (Clopper and Pearson, 1934), times
    `largest_cost` of an episode that was ever seen.
    """
    ratio = ratios(log_ratio, last)
    effective = effective_episodes(ratio, last)
    episodes = per_decision(ratio, costs, last)
    estimate, count = float(episodes.mean()), len(episodes)
    if not costs.any():
        rate = 1.0 - error ** (1.0 / max(effective, 1.0))
        return Bound(0.0, rate * largest_cost, effective)
    if count < 2:
        return Bound(estimate, math.inf, effective)
    half = student.ppf(1.0 - error, count - 1) * episodes.std(ddof=1) / math.sqrt(count)
    return Bound(estimate, estimate + float(half), effective)
