"""Homes for training and for evaluation never meet, and training cannot leave its own."""

from __future__ import annotations

import pytest

from safevla_ros.simulation.seeds import (
    EPISODES_PER_SEED,
    TRAINING_SEEDS,
    SeedError,
    evaluation_seed,
    require_training,
    training_seed,
)


def test_training_homes_are_within_the_training_range():
    assert training_seed(0) in TRAINING_SEEDS
    assert training_seed(len(TRAINING_SEEDS) - 1) in TRAINING_SEEDS
    assert training_seed(5) != training_seed(6)


@pytest.mark.parametrize("seed", [0, 1, 17, 10**6])
@pytest.mark.parametrize("index", [0, 199, EPISODES_PER_SEED - 1])
def test_evaluation_homes_are_never_training_homes(seed, index):
    assert evaluation_seed(seed, index) not in TRAINING_SEEDS


def test_evaluations_of_different_seeds_share_no_home():
    assert evaluation_seed(1, EPISODES_PER_SEED - 1) < evaluation_seed(2, 0)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: training_seed(len(TRAINING_SEEDS)),
        lambda: training_seed(-1),
        lambda: evaluation_seed(0, EPISODES_PER_SEED),
        lambda: evaluation_seed(0, -1),
        lambda: evaluation_seed(-1, 0),
        lambda: require_training(evaluation_seed(0, 0)),
        lambda: require_training(20),
    ],
)
def test_what_leaves_its_range_is_refused(ask):
    with pytest.raises(SeedError, match="expected"):
        ask()


def test_a_training_home_passes():
    assert require_training(training_seed(3)) == training_seed(3)
