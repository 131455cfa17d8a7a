"""Importance sampling by hand, and its bound by repetition."""

import math

import numpy as np
import pytest

from safevla_ros.training.offline.importance import (
    effective_episodes,
    per_decision,
    ratios,
    upper_bound,
)

LAST = np.array([0, 1, 0, 0, 1], bool)


def test_ratios_are_products_from_the_episodes_start():
    log_ratio = np.log([2.0, 3.0, 0.5, 1.0, 4.0])
    np.testing.assert_allclose(ratios(log_ratio, LAST), [2.0, 6.0, 0.5, 0.5, 2.0])


def test_each_cost_is_weighted_with_the_way_to_it():
    found = per_decision(
        np.array([2.0, 6.0, 0.5, 0.5, 2.0]), np.array([1.0, 1.0, 0.0, 1.0, 1.0]), LAST
    )
    np.testing.assert_allclose(found, [8.0, 2.5])


def test_an_episode_of_a_large_ratio_takes_nothing_from_the_others():
    found = per_decision(np.array([1e20, 1e20, 1.0, 1.0, 1.0]), np.ones(5), LAST)
    assert found[1] == 3.0


def test_the_same_policy_is_carried_by_all_episodes():
    assert effective_episodes(np.ones(5), LAST) == 2.0
    assert effective_episodes(np.array([1.0, 3.0, 1.0, 1.0, 1.0]), LAST) == pytest.approx(1.6)


def test_one_step_episodes_are_estimated_without_bias_and_bounded():
    """Behaviour is risky in half of the episodes, the policy in a tenth; the risky action costs 1."""
    rng = np.random.default_rng(0)
    last = np.ones(200, bool)
    estimates, kept = [], 0
    for _ in range(300):
        risky = rng.random(200) < 0.5
        log_ratio = np.log(np.where(risky, 0.1 / 0.5, 0.9 / 0.5))
        bound = upper_bound(log_ratio, risky * 1.0, last, error=0.05, largest_cost=1.0)
        assert bound.valid
        estimates.append(bound.estimate)
        kept += bound.upper >= 0.1
    assert np.mean(estimates) == pytest.approx(0.1, abs=0.003)
    assert kept >= 0.92 * 300


def test_a_policy_that_does_other_things_cannot_be_tested():
    rng = np.random.default_rng(0)
    last = np.tile([False] * 19 + [True], 100)
    log_ratio = np.log(np.where(rng.random(2000) < 0.5, 1.9, 0.1))
    bound = upper_bound(log_ratio, np.zeros(2000), last, error=0.05, largest_cost=1.0)
    assert not bound.valid


def test_no_cost_in_59_episodes_is_less_than_5_percent_of_costly_ones():
    last = np.ones(59, bool)
    bound = upper_bound(np.zeros(59), np.zeros(59), last, error=0.05, largest_cost=2.0)
    assert bound.estimate == 0.0
    assert bound.upper == pytest.approx(2.0 * (1.0 - 0.05 ** (1 / 59)))
    assert bound.upper <= 2.0 * 0.05


def test_one_episode_bounds_nothing():
    bound = upper_bound(np.zeros(2), np.ones(2), LAST[:2], error=0.05, largest_cost=1.0)
    assert math.isinf(bound.upper)
