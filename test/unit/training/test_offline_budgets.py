"""Scales, taught budgets, what a mean may be, and how a policy is told."""

import numpy as np
import pytest

from safevla_ros.policy.features import BudgetTerm, Column, Features
from safevla_ros.policy.vla.processor import budget_row
from safevla_ros.training.offline.budgets import (
    allowed_means,
    budget_vectors,
    cost_scales,
    return_scale,
    told,
)


def test_scales_have_a_least():
    costs = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    np.testing.assert_allclose(cost_scales(costs, np.array([0.5, 3.0, 0.0])), [1.0, 0.3, 1e-3])
    assert return_scale(np.array([0.0, 10.0])) == 5.0
    assert return_scale(np.array([10.0, 10.0])) == 1.0


def test_the_first_budget_is_the_one_asked_for_and_the_others_are_in_the_datas_range():
    costs = np.linspace(0.0, 10.0, 101)[:, None] * [1.0, 3.0]
    scales = costs.std(axis=0)
    found = budget_vectors(costs, scales, np.array([0.1, 4.0]), 64, np.random.default_rng(0))
    assert found.shape == (64, 2)
    assert found[0].tolist() == [0.1, 4.0]
    low, high = np.quantile(costs, [0.05, 0.95], axis=0)
    assert (found[1:] >= np.maximum(low, 0.1 * scales) - 1e-9).all()
    assert (found[1:] <= high + 1e-9).all()
    share = (found[1:, 0] < np.sqrt(0.5 * 9.5)).mean()
    assert 0.3 < share < 0.7, "log-uniform: half lies below the geometric mean"


def test_what_a_mean_may_be_is_the_way_to_the_budget_over_the_windows_of_an_episode():
    # 4 less over an episode of 20 steps, in windows of 5, in a unit of 2
    found = allowed_means(np.array([1.0]), np.array([5.0]), np.array([2.0]), 5.0, 20.0)
    np.testing.assert_allclose(found, [-0.5])


def test_a_policy_is_told_what_a_robot_would_tell_it():
    terms = (BudgetTerm(name="collision", scale=2.0), BudgetTerm(name="drop", scale=0.5, asked=0.4))
    features = Features(
        cameras=("a",),
        image_height=16,
        image_width=16,
        proprioception=(Column(name="base.x", mean=0.0, std=1.0),),
        budget_terms=terms,
    )
    for remaining in ([1.0, -0.25], [100.0, -3.0]):
        row = budget_row(features, dict(zip(("collision", "drop"), remaining, strict=True)))
        mine = told(np.array([remaining]), np.array([2.0, 0.5]))
        assert mine.dtype == row.dtype
        np.testing.assert_allclose(mine[0], row)
    assert told(np.array([[1.0, 1.0]]), np.array([2.0, 0.5]))[0].tolist() == pytest.approx(
        [0.5, 2.0, 1.0, 1.0]
    )
    # Where nobody tells a budget, that which was asked for at the fit stands.
    np.testing.assert_allclose(budget_row(features, {}), [0.0, 0.8, 0.0, 1.0])
