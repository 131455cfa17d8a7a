"""The parts of offline learning that need torch: critics, fitted Q evaluation, what a fit is fed."""

import numpy as np
import pytest
import torch

from safevla_ros.training.episodes import EpisodeStore
from safevla_ros.training.offline.critics import BINS, TwoHot, fit_critics
from safevla_ros.training.offline.data import FIT, Columns, OfflineData
from safevla_ros.training.offline.dual import extract
from safevla_ros.training.offline.fitted_q import Transitions, evaluate_policy
from safevla_ros.training.offline.pricing import Lesson, Priced
from safevla_ros.training.offline.settings import OfflineSettings
from safevla_ros.training.offline.source import WEIGHT, Source


def silent(done, total):
    """Nobody listens."""


def test_two_hot_targets_have_the_value_as_their_mean():
    two_hot = TwoHot(torch.tensor([10.0, 3.0]))
    values = torch.tensor([[0.0, 3.0], [4.321, 1.0], [10.0, 0.03]])
    encoded = two_hot.encode(values)
    torch.testing.assert_close(encoded.sum(-1), torch.ones(3, 2))
    assert ((encoded > 0).sum(-1) <= 2).all()
    torch.testing.assert_close((encoded * two_hot.bins).sum(-1), values)
    torch.testing.assert_close(two_hot.decode(torch.log(encoded + 1e-9)), values)
    assert encoded.shape == (3, 2, BINS)


def test_critics_expect_what_follows_from_what_is_seen():
    """One feature tells whether an episode will cost 4 or nothing, whatever the reward."""
    rng = np.random.default_rng(0)
    dear = rng.random(600) < 0.5
    features = np.stack([dear, ~dear, rng.random(600)], axis=1).astype(np.float16)
    targets = np.stack([np.full(600, 10.0), 4.0 * dear], axis=1)
    known = np.ones((600, 2), bool)
    known[:100, 0] = False
    fit = np.arange(600) < 400
    found = fit_critics(features, targets, known, fit, ~fit, updates=100, seed=0, report=silent)
    np.testing.assert_allclose(found[~fit].mean(axis=0), targets[~fit].mean(axis=0), atol=0.3)
    assert found[dear, 1].min() > 3.0 > 1.0 > found[~dear, 1].max()


def test_fitted_q_evaluation_finds_the_value_of_a_small_world():
    """From the first state action 0 ends the episode; action 1 costs 1 and leads to the second,
    where 0 costs nothing and 1 costs 2, and both end it. The data acts at random: 0.5 * 2 = 1 after
    the first, so 1 on average. A policy that takes action 1 with 0.9, then 0.25, costs
    0.9 * (1 + 0.25 * 2) = 1.35."""
    rng = np.random.default_rng(0)
    states, actions, costs, last = [], [], [], []
    for _ in range(400):
        first = int(rng.random() < 0.5)
        states.append(0)
        actions.append(first)
        costs.append(float(first))
        last.append(not first)
        if first:
            second = int(rng.random() < 0.5)
            states.append(1)
            actions.append(second)
            costs.append(2.0 * second)
            last.append(True)
    state, action, cost = np.array(states), np.array(actions), np.array(costs)
    ends = np.array(last)
    episode = np.concatenate([[0], np.cumsum(ends)[:-1]])
    returns = np.array([cost[i:][: np.argmax(ends[i:]) + 1].sum() for i in range(len(cost))])
    chance = np.array([0.9, 0.25])

    def draw(index):
        one = rng.random(len(index)) < chance[state[index]]
        return np.stack([~one, one], axis=1).astype(np.float32)

    found = evaluate_policy(
        Transitions(
            features=np.eye(2, dtype=np.float32)[state],
            codes=np.eye(2, dtype=np.float32)[action],
            values=cost[:, None],
            returns=returns[:, None],
            last=ends,
            usable=np.ones(len(state), bool),
            episode=episode,
        ),
        draw,
        np.ones(len(state), bool),
        np.flatnonzero(state == 0)[:200],
        heads=4,
        updates=600,
        seed=0,
        report=silent,
    )
    assert found.shape == (1, 4)
    assert returns[state == 0].mean() == pytest.approx(1.0, abs=0.2)
    assert found.mean() == pytest.approx(1.35, abs=0.12)


def test_what_hardly_ever_costs_is_not_taken_to_cost_more():
    """Episodes of 60 steps: one in 150 costs 1 in every step of its second half, and nothing that is
    seen or done tells which. So 0.2 on average, and 30 at most."""
    rng = np.random.default_rng(0)
    episodes, steps = 150, 60
    count = episodes * steps
    costly = np.arange(episodes) % 150 == 0
    cost = (costly[:, None] & (np.arange(steps) >= steps // 2)).astype(float).ravel()
    returns = cost.reshape(episodes, steps)[:, ::-1].cumsum(axis=1)[:, ::-1].ravel()
    step = np.tile(np.arange(steps), episodes)
    codes = np.eye(2, dtype=np.float32)[rng.integers(2, size=count)]
    seen = np.concatenate([step[:, None] / steps, rng.standard_normal((count, 64))], axis=1)
    found = evaluate_policy(
        Transitions(
            features=seen.astype(np.float32),
            codes=codes,
            values=cost[:, None],
            returns=returns[:, None].copy(),
            last=step == steps - 1,
            usable=np.ones(count, bool),
            episode=np.repeat(np.arange(episodes), steps),
        ),
        lambda index: codes[index],
        np.ones(count, bool),
        np.flatnonzero(step == 0),
        heads=4,
        updates=1000,
        seed=0,
        report=silent,
    )
    assert found.mean() == pytest.approx(0.2, abs=0.2)


@pytest.fixture
def lessons(tmp_path):
    """A source of one-episode data with two steps, dear and cheap, for a tight and a wide budget."""
    steps = 40
    dear = np.arange(steps) % 2 == 0
    cost = np.where(dear, 1.0, -1.0)[:, None]
    flags, zeros = np.zeros(steps, bool), np.zeros(steps)
    last = flags.copy()
    last[-1] = True
    columns = Columns(
        episode=np.zeros(steps, np.int64),
        step=np.arange(steps),
        last=last,
        imitable=~flags,
        cut=flags,
        by_policy=~flags,
        known=~flags,
        token=np.zeros(steps, np.int64),
        log_probability=zeros,
        reward=zeros,
        cost=np.maximum(cost, 0.0),
        charged=np.maximum(cost, 0.0),
        spent=np.cumsum(np.maximum(cost, 0.0), axis=0) - np.maximum(cost, 0.0),
        judged=~flags[:, None],
    )
    data = OfflineData(columns, ("000000",), np.array([FIT]), ("find it",), ("mine",), ())
    store = EpisodeStore(tmp_path)
    store.add("000000", {"step": np.arange(steps)}, {})
    priced = Priced(
        reward=zeros,
        cost=cost,
        others_reward=np.zeros((steps, 0)),
        others_cost=np.zeros((steps, 0, 1)),
        scales=np.array([2.0]),
        samples=~flags,
        window=1.0,
        steps=steps,
        costs=np.array([[20.0]]),
        success=np.array([True]),
    )
    taught = []
    for budget, allowed in ((10.0, -0.5), (20.0, 0.0)):
        extraction = extract(zeros, cost, np.array([allowed]))
        taught.append(Lesson(np.array([budget]), extraction, 0.0))

    def make(method="weights", which=slice(None), seed=0):
        return Source(
            store=store,
            data=data,
            settings=OfflineSettings(budgets={"collision": 10.0}, method=method),
            rng=np.random.default_rng(seed),
            scales=np.array([2.0] + [1.0] * (method == "condition")),
            priced=priced,
            lessons=tuple(taught[which]),
        )

    return make, dear


def told_episode(source):
    """The first episode drawn that is told a budget."""
    while True:
        arrays = source.draw()
        if arrays["budget"].any():
            return arrays


def test_a_tight_budget_weighs_what_is_dear_less_and_a_wide_one_does_not(lessons):
    make, dear = lessons
    tight = told_episode(make(which=slice(0, 1)))[WEIGHT]
    wide = told_episode(make(which=slice(1, 2)))[WEIGHT]
    assert tight[dear].mean() / tight.mean() == pytest.approx(0.5, abs=0.03)
    assert wide[dear].mean() / wide.mean() == pytest.approx(1.0, abs=0.03)


def test_an_episode_is_told_what_remains(lessons):
    make, _ = lessons
    budget = told_episode(make(which=slice(0, 1)))["budget"]
    assert budget[0].tolist() == [5.0, 1.0]  # 10 of scale 2
    assert budget[4].tolist() == [4.0, 1.0]  # two dear steps later
    assert budget[-1].tolist() == [-1.0, 1.0]  # overdrawn, and clipped


def test_the_loss_is_that_of_the_told_and_a_share_of_the_untold(lessons):
    make, _ = lessons
    source = make(which=slice(1, 2))
    sums = {True: 0.0, False: 0.0}
    for _ in range(2000):
        arrays = source.draw()
        sums[bool(arrays["budget"].any())] += float(arrays[WEIGHT].mean()) / 2000
    assert sums[True] == pytest.approx(1.0, abs=0.05)
    assert sums[False] == pytest.approx(0.2, abs=0.03)


def test_weights_of_0_and_1_keep_what_is_cheap(lessons):
    make, dear = lessons
    weight = told_episode(make("binary", slice(0, 1)))[WEIGHT]
    assert not weight[dear].any()
    assert weight[~dear].all()


def test_a_condition_says_what_is_cheap_and_weighs_all_alike(lessons):
    make, dear = lessons
    arrays = told_episode(make("condition", slice(0, 1)))
    assert np.unique(arrays[WEIGHT]).size == 1
    np.testing.assert_array_equal(arrays["budget"][:, 1], np.where(dear, -1.0, 1.0))
