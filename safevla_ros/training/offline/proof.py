"""Before a policy acts: an estimate of what it will cost, and a test on what nothing has touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from safevla_ros.bags.dataset import SUCCESS_REWARD
from safevla_ros.training.offline.advantages import to_go
from safevla_ros.training.offline.data import CHOOSE, FIT, TEST, OfflineData
from safevla_ros.training.offline.fitted_q import Transitions, evaluate_policy
from safevla_ros.training.offline.importance import LEAST_EPISODES, upper_bound
from safevla_ros.training.offline.learners import Learner
from safevla_ros.training.offline.settings import OfflineSettings

Floats = NDArray[np.float64]

Verdict = Literal["within budget", "not shown to be within budget", "these bags cannot test it"]
NOT_SHOWN: Verdict = "not shown to be within budget"
CANNOT: Verdict = "these bags cannot test it"
LEAST_PROBABILITY = 1e-8


@dataclass(frozen=True)
class Estimate:
    """Fitted Q evaluation of an episode's cost: mean and standard deviation over the heads, beside
    what the episodes of the data cost. Not a bound."""

    mean: float
    deviation: float
    data: float


@dataclass(frozen=True)
class OffPolicyTest:
    """Importance sampling on the untouched part. `why`: what stands against a test; else empty.
    `upper` bounds the cost of an episode at the run's error over the number of terms."""

    verdict: Verdict
    budget: float
    why: str = ""
    estimate: float | None = None
    upper: float | None = None
    effective_episodes: float | None = None
    episodes: int = 0


def estimate_costs(
    learner: Learner[Any],
    acts: NDArray[np.float32],
    codes: NDArray[np.float32],
    features: NDArray,
    data: OfflineData,
    settings: OfflineSettings,
    report: Callable[[int, int], None],
) -> dict[str, Estimate]:
    """By term, and `success` for the rate of it, for a policy that would do `acts` (N, A).

    It is learnt from the first part, and read in the first steps of the part that chooses. Costs are
    those that were executed, behind the gate of these bags, if there was one.
    """
    columns = data.columns
    values = np.concatenate([columns.cost, columns.reward[:, None]], axis=1)
    returns = to_go(values, columns.last)
    rng = np.random.default_rng(settings.seed)
    chosen = (data.part == CHOOSE) & columns.known[columns.first]
    found = evaluate_policy(
        Transitions(
            features=features,
            codes=codes,
            values=values,
            returns=returns,
            last=columns.last,
            usable=codes.any(axis=1) & columns.known,
            episode=columns.episode,
        ),
        lambda index: learner.draw(acts[index], rng),
        data.steps_of(FIT),
        columns.first[chosen],
        heads=settings.heads,
        updates=settings.estimate_updates,
        seed=settings.seed,
        report=report,
    )
    found[-1] = found[-1].clip(max=SUCCESS_REWARD)
    held = columns.sums(values)[chosen].mean(axis=0)
    names, units = (
        (*settings.terms, "success"),
        [1.0] * len(settings.terms) + [1.0 / SUCCESS_REWARD],
    )
    return {
        name: Estimate(
            max(float(unit * found[k].mean()), 0.0),
            float(unit * found[k].std()),
            float(unit * held[k]),
        )
        for k, (name, unit) in enumerate(zip(names, units, strict=True))
    }


def off_policy_tests(
    acts: NDArray[np.float32],
    codes: NDArray[np.float32],
    data: OfflineData,
    settings: OfflineSettings,
    *,
    tokens: bool,
) -> dict[str, OffPolicyTest]:
    """By term, for a policy that would do `acts` (N, A): probabilities of tokens, with `tokens`.

    What a person or the gate decided is taken to be the world's: they would do it again.
    """
    columns = data.columns
    test = data.steps_of(TEST)
    decided = test & columns.by_policy & (columns.token >= 0)
    episodes = int((data.part == TEST).sum())
    why = ""
    if not tokens:
        why = "the policy gives no probabilities of its actions"
    elif np.isnan(columns.log_probability[decided]).any() or not decided.any():
        why = "they lack the log-probabilities of the actions of whoever acted"
    if why:
        return {
            term: OffPolicyTest(CANNOT, settings.budgets[term], why, episodes=episodes)
            for term in settings.terms
        }
    likely = np.maximum((acts * codes).sum(axis=1), LEAST_PROBABILITY)
    ratio = np.where(decided, np.log(likely) - np.where(decided, columns.log_probability, 0.0), 0.0)
    largest = columns.sums(columns.cost).max(axis=0)
    tests = {}
    for k, term in enumerate(settings.terms):
        bound = upper_bound(
            ratio[test],
            columns.cost[test, k],
            columns.last[test],
            error=settings.error / len(settings.terms),
            largest_cost=float(largest[k]),
        )
        budget = settings.budgets[term]
        verdict: Verdict = "within budget" if bound.upper <= budget else NOT_SHOWN
        if not bound.valid:
            verdict = CANNOT
            why = (
                f"{bound.effective:.1f} episodes carry the figure, expected at least "
                f"{LEAST_EPISODES}: the policy does other things than who acted in them"
            )
        tests[term] = OffPolicyTest(
            verdict, budget, why, bound.estimate, bound.upper, bound.effective, episodes
        )
    return tests
