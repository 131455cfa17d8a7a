"""The dual against a brute search over reweightings and known solutions; weights and what they leave."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safevla_ros.training.offline.dual import TOLERANCE, Extraction, Unsupported, extract, solve
from safevla_ros.training.offline.weights import Tilt, effective_share, lagrangian

CAP = 100.0


def simplex(parts):
    """All ways to spread 1 over three samples, in steps of 1 / parts."""
    grid = [(i, j, parts - i - j) for i in range(parts + 1) for j in range(parts + 1 - i)]
    return np.array(grid, float) / parts


def divergence(weights):
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(weights > 0, weights * np.log(weights * weights.shape[1]), 0.0)
    return terms.sum(axis=1)


@pytest.mark.parametrize(
    ("reward", "cost", "allowed", "eps"),
    [
        ([1.0, 0.0, -1.0], [1.0, -1.0, 0.0], -0.2, 0.2),
        ([1.0, 0.5, -1.5], [1.0, 0.0, -1.0], 0.1, 0.1),
        ([0.3, -0.2, -0.1], [-1.0, 0.5, 0.5], 0.5, 0.3),
    ],
)
def test_the_best_reweighting_is_that_of_a_brute_search(reward, cost, allowed, eps):
    reward, cost = np.array(reward), np.array(cost)
    every = simplex(400)
    good = every[(divergence(every) <= eps) & (every @ cost <= allowed)]
    best = (good @ reward).max()
    dual = solve(reward, cost[:, None], np.array([allowed]), eps, CAP)
    weights = np.exp(lagrangian(reward, cost[:, None], dual.multipliers) / dual.temperature)
    weights /= weights.sum()
    assert weights @ cost <= allowed + 1e-4
    assert divergence(weights[None])[0] <= eps + 1e-4
    assert weights @ reward == pytest.approx(best, abs=5e-3)


def test_a_budget_that_costs_nothing_has_no_price():
    dual = solve(np.array([1.0, -1.0]), np.array([[-1.0], [1.0]]), np.array([0.5]), 0.2, CAP)
    assert dual.multipliers[0] == 0.0


def test_two_actions_have_the_solution_that_the_constraint_gives():
    """Without a reward, half of the samples cost 1: to come to a mean of -0.5 [scales] the costly
    half keeps a quarter."""
    costs = np.repeat([[1.0], [-1.0]], 50, axis=0)
    found = extract(np.zeros(100), costs, np.array([-0.5]))
    assert isinstance(found, Extraction)
    weights = found.tilt(lagrangian(np.zeros(100), costs, found.dual.multipliers))
    assert weights[:50].sum() / weights.sum() == pytest.approx(0.25, abs=0.01)


def test_a_mean_beyond_the_data_is_not_supported_and_the_channel_is_named():
    rng = np.random.default_rng(0)
    costs = rng.normal(size=(300, 2))
    costs -= costs.mean(axis=0)
    found = extract(rng.normal(size=300), costs, np.array([0.5, -2.0]))
    assert isinstance(found, Unsupported)
    assert found.channel == 1


def test_weights_that_leave_too_few_samples_are_not_an_answer():
    reward = np.repeat([1.0, -1.0], 50)
    free = np.zeros((100, 1))
    assert isinstance(extract(reward, free, np.array([0.0]), least_effective=0.9), Extraction)
    found = extract(reward, free, np.array([0.0]), eps=5.0, least_effective=0.99)
    assert isinstance(found, Unsupported)
    assert found.channel is None


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(20, 200),
    channels=st.integers(1, 3),
    tight=st.floats(-0.3, 0.5),
)
def test_what_is_supported_keeps_the_constraint_in_the_weighted_mean(seed, count, channels, tight):
    rng = np.random.default_rng(seed)
    reward, costs = rng.normal(size=count), rng.normal(size=(count, channels))
    costs -= costs.mean(axis=0)
    allowed = np.full(channels, tight)
    found = extract(reward, costs, allowed)
    if isinstance(found, Unsupported):
        assert tight < 0.0, "doing as the data does keeps what is above its mean"
        return
    weights = found.tilt(lagrangian(reward, costs, found.dual.multipliers))
    assert (weights @ costs / count <= allowed + TOLERANCE).all()
    assert weights.mean() == pytest.approx(1.0)
    assert effective_share(weights) == pytest.approx(found.effective)
    assert found.effective >= 0.3


def test_the_share_that_is_left_is_one_for_equal_weights_and_less_for_others():
    assert effective_share(np.ones(7)) == 1.0
    assert effective_share(np.array([1.0, 0.0])) == 0.5
    assert effective_share(np.array([3.0, 1.0])) == pytest.approx(0.8)
    assert effective_share(np.zeros(3)) == 0.0


def test_weights_have_mean_one_and_a_bound():
    advantage = np.array([0.0] * 99 + [10.0])
    weights = Tilt(advantage, 1.0, largest=20.0)(advantage)
    assert weights.mean() == pytest.approx(1.0)
    raw = np.minimum(np.exp(advantage) / np.exp(advantage).mean(), 20.0)
    np.testing.assert_allclose(weights, raw / raw.mean())


def test_weights_of_large_advantages_do_not_overflow():
    advantage = np.array([-5000.0, 0.0, 5000.0])
    assert np.isfinite(Tilt(advantage, 1e-3)(advantage)).all()
