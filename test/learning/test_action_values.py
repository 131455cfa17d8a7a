"""Advantages that are learnt: of what an action does, not of the luck of the step it was seen in."""

import numpy as np

from safevla_ros.training.offline.action_values import action_advantages

STEPS = 3000


def learnt(features, action, followed, chance, seed=0):
    """Advantages of two actions, the policy taking the second with `chance` (N,)."""
    tokens = np.eye(2, dtype=np.float32)

    def usual(index, value):
        first, second = (value(np.broadcast_to(token, (len(index), 2))) for token in tokens)
        return (1.0 - chance[index]) * first + chance[index] * second

    fit = np.arange(STEPS) < 2000
    return action_advantages(
        features.astype(np.float16),
        tokens[action],
        followed,
        usual,
        tokens,
        fit,
        ~fit,
        updates=400,
        seed=seed,
        report=lambda done, total: None,
    )


def world(seed=0):
    """Near an obstacle, which many features tell, the second action costs 2 one time in two; else
    nothing costs."""
    rng = np.random.default_rng(seed)
    near, action = rng.random(STEPS) < 0.5, (rng.random(STEPS) < 0.5).astype(int)
    followed = 2.0 * (near & (action == 1) & (rng.random(STEPS) < 0.5))
    features = np.concatenate([np.repeat(near[:, None], 8, axis=1), rng.random((STEPS, 8))], axis=1)
    return features, near, action, followed


def test_an_action_is_charged_what_it_costs_on_average_there():
    features, near, action, followed = world()
    found, *others = learnt(features, action, followed, np.full(STEPS, 0.5)).T
    np.testing.assert_allclose(found, np.where(action, *reversed(others)))
    assert abs(found[near & (action == 1)].mean() - 0.5) < 0.1
    assert abs(found[near & (action == 0)].mean() + 0.5) < 0.1
    assert np.abs(found[~near]).max() < 0.2
    # The same action in the same place is worth the same, whatever followed this time.
    assert found[near & (action == 1)].std() < 0.2 * followed[near & (action == 1)].std()


def test_it_is_compared_with_what_the_policy_would_do():
    features, near, action, followed = world()
    found = learnt(features, action, followed, np.ones(STEPS))[:, 0]
    assert abs(found[near & (action == 1)].mean()) < 0.1
    assert abs(found[near & (action == 0)].mean() + 1.0) < 0.2


def test_what_nothing_explains_is_no_advantage():
    features, _, action, followed = world()
    luck = np.random.default_rng(1).permutation(followed)
    found = learnt(features, action, luck, np.full(STEPS, 0.5))
    assert np.abs(found).mean() < 0.1 * luck.std()
    assert not learnt(features, action, np.zeros(STEPS), np.full(STEPS, 0.5)).any()
