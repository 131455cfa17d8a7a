"""Multipliers, advantages, losses and windows against figures computed by hand."""

import math

import numpy as np
import pytest
import torch

from safevla_ros.training.online.advantages import (
    Deviations,
    generalised_advantage,
    lagrangian_advantage,
    moments,
)
from safevla_ros.training.online.budgets import BudgetError, load_budgets, make_constraints
from safevla_ros.training.online.lagrange import Multipliers, budget_error
from safevla_ros.training.online.losses import Evaluation, critic_terms, drift, policy_terms
from safevla_ros.training.online.settings import MultiplierSettings
from safevla_ros.training.online.windows import EpisodeWindows


def multipliers(budget=2.0, scale=0.5, **changes):
    settings = MultiplierSettings(**changes)
    return Multipliers(settings, np.array([[budget]]), np.array([[scale]]))


def after(lagrange, *costs):
    """The multiplier after each of these mean costs."""
    found = []
    for cost in costs:
        lagrange.update(0, np.array([cost]))
        found.append(float(lagrange.values[0, 0]))
    return found


@pytest.mark.parametrize(
    ("cost", "budget", "scale", "error"),
    [
        (6.0, 2.0, 0.5, 2.0),
        (1.0, 2.0, 0.5, -0.5),
        (0.3, 0.1, 0.5, 0.4),  # the scale, where the budget is smaller
        (1.5, 0.0, 0.5, 3.0),
        (0.0, 0.0, 0.5, 0.0),
    ],
)
def test_errors_are_in_units_of_the_budget(cost, budget, scale, error):
    assert budget_error(np.array(cost), np.array(budget), np.array(scale)) == pytest.approx(error)


def test_pid_adds_what_is_what_was_and_what_comes():
    # J = 4, 8: e = 1, 3. P = 1, .5 + 1.5 = 2; I = 1, 4; D = 0, 1.
    lagrange = multipliers(kp=0.1, ki=0.01, kd=0.05, smoothing=0.5)
    assert after(lagrange, 4.0, 8.0) == pytest.approx([0.1 + 0.01, 0.2 + 0.04 + 0.05])
    assert lagrange.errors[0, 0] == pytest.approx(3.0)


def test_a_falling_error_is_not_punished_for_falling():
    lagrange = multipliers(kp=0.0, ki=0.0, kd=1.0, smoothing=0.0)
    assert after(lagrange, 4.0, 8.0, 4.0) == pytest.approx([0.0, 2.0, 0.0])


def test_being_within_the_budget_leaves_no_credit():
    lagrange = multipliers(kp=0.0, ki=1.0, kd=0.0)
    # e = -1 ten times, then 1: the integral begins at zero, not at -10.
    assert after(lagrange, *[0.0] * 10, 4.0)[-1] == pytest.approx(1.0)


def test_the_cap_always_holds_and_is_left_at_once():
    lagrange = multipliers(kp=0.1, ki=0.5, kd=1.0, smoothing=0.0, cap=2.0)
    values = after(lagrange, *[50.0] * 20)
    assert max(values) <= 2.0
    assert lagrange.saturated.all()
    # The integral did not grow at the cap: one episode within the budget, and it is left.
    (left,) = after(lagrange, 0.0)
    assert left < 2.0
    assert not lagrange.saturated.any()


def test_a_budget_of_zero_is_met_by_costing_nothing():
    lagrange = multipliers(budget=0.0, kp=0.0, ki=0.1, kd=0.0)
    assert after(lagrange, 1.0, 0.0, 0.0) == pytest.approx([0.2, 0.2, 0.2])


def test_adam_is_that_of_torch_until_a_bound_is_met():
    lagrange = multipliers(rule="adam", rate=0.035, start=0.5)
    weight = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=0.035)
    costs = [6.0, 1.0, 4.0]
    for cost in costs:
        weight.grad = -torch.tensor([(cost - 2.0) / 2.0], dtype=torch.float64)
        optimizer.step()
    assert after(lagrange, *costs)[-1] == pytest.approx(weight.item(), rel=1e-6)


@pytest.mark.parametrize("rule", ["adam", "gradient", "pid"])
def test_no_rule_leaves_its_range_or_stays_at_a_bound(rule):
    lagrange = multipliers(rule=rule, rate=0.5, cap=1.0, kp=1.0, smoothing=0.0)
    assert max(after(lagrange, *[9.0] * 50)) == 1.0
    # Momentum that pushed against the cap is forgotten: it falls as soon as the error does.
    assert after(lagrange, *[0.0] * 4)[-1] < 1.0
    assert min(after(lagrange, *[0.0] * 50)) == 0.0
    assert after(lagrange, *[9.0] * 4)[-1] > 0.0


def test_gradient_ascent_goes_up_the_error():
    lagrange = multipliers(rule="gradient", rate=0.1, start=0.0)
    assert after(lagrange, 6.0, 1.0) == pytest.approx([0.2, 0.15])


def test_what_has_no_budget_has_no_multiplier():
    assert after(multipliers(budget=math.nan, start=0.5), 100.0) == [0.0]


def test_multipliers_go_on_from_their_state():
    whole, first = multipliers(kd=0.1), multipliers(kd=0.1)
    costs = [4.0, 9.0, 1.0, 3.0, 7.0]
    expected = after(whole, *costs)
    after(first, *costs[:2])
    second = multipliers(kd=0.1)
    second.restore(first.state())
    assert after(second, *costs[2:]) == expected[2:]
    assert second.state() == whole.state()


def test_advantages_of_each_channel_have_a_discount_of_their_own():
    rewards = torch.tensor([[[1.0, 1.0]], [[2.0, 0.0]], [[4.0, 3.0]]])
    values = torch.tensor([[[0.5, 0.0]], [[1.0, 0.0]], [[2.0, 1.0]]])
    next_values = torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]], [[3.0, 2.0]]])
    done = torch.tensor([[False], [True], [False]])
    gamma = torch.tensor([0.5, 1.0])
    found = generalised_advantage(rewards, values, next_values, done, gamma, 0.5)
    # Reward: deltas 1, 1, 3.5; the second step is an episode's last. Cost: deltas 1, 0, 4.
    expected = torch.tensor([[[1.0 + 0.25, 1.0 + 0.0]], [[1.0, 0.0]], [[3.5, 4.0]]])
    torch.testing.assert_close(found, expected)


def test_the_lagrangian_advantage_weighs_each_cost():
    advantages = torch.tensor([[4.0, 3.0, 1.0], [2.0, 1.0, 5.0]])
    multipliers = torch.tensor([[1.0, 2.0], [0.0, 1.0]])
    deviations, means = torch.tensor([2.0, 0.5, 4.0]), torch.tensor([9.0, 1.0, 3.0])
    found = lagrangian_advantage(advantages, multipliers, deviations, means)
    # (4/2 - 1 * (3-1)/.5 - 2 * (1-3)/4) / 4 and (2/2 - 1 * (5-3)/4) / 2
    torch.testing.assert_close(found, torch.tensor([-0.25, 0.25]))
    none = lagrangian_advantage(advantages, 0.0 * multipliers, deviations, means)
    torch.testing.assert_close(none, advantages[:, 0] / 2.0)


def test_deviations_do_not_fall_below_a_share_of_their_maximum():
    mean, deviation = moments(torch.tensor([[[1.0, 0.0]], [[3.0, 0.0]]]))
    assert mean.tolist() == [2.0, 0.0]
    assert deviation.tolist() == [1.0, 0.0]
    kept = Deviations(2)
    first = kept.floored(torch.tensor([4.0, 0.0], dtype=torch.float64))
    assert first.tolist() == [4.0, 1e-8]
    then = kept.floored(torch.tensor([0.1, 0.0], dtype=torch.float64))
    assert then[0].item() == pytest.approx(0.2)


def evaluation(log_prob, values=((0.0, 0.0), (0.0, 0.0))):
    log_prob = torch.tensor([log_prob])
    return Evaluation(
        log_prob, torch.full_like(log_prob, 0.7), torch.zeros_like(log_prob), torch.tensor([values])
    )


def test_the_surrogate_is_clipped_where_it_would_gain():
    now = evaluation([math.log(1.5), math.log(1.5)])
    old, advantage = torch.zeros(1, 2), torch.tensor([[1.0, -1.0]])
    terms = policy_terms(now, old, advantage, 0.1)
    assert terms["policy"].item() == pytest.approx(-(1.1 - 1.5) / 2.0)
    assert terms["entropy"].item() == pytest.approx(0.7)
    moved = drift(now, old, 0.1)
    assert moved["clipped"].item() == 1.0
    assert moved["kl"].item() == pytest.approx(0.5 - math.log(1.5))


def test_each_critic_has_a_loss_by_name():
    now = evaluation([0.0, 0.0], ((1.0, 0.0), (3.0, 0.0)))
    targets = torch.tensor([[[0.0, 0.0], [0.0, 4.0]]])
    terms = critic_terms(now, targets, ["drop"])
    assert {name: term.item() for name, term in terms.items()} == {
        "value": 2.5,
        "cost_value/drop": 4.0,
    }


def test_j_is_of_the_episodes_that_were_started_together_once_all_have_ended():
    windows = EpisodeWindows(np.array([[1.0, np.nan]]), 3)
    tags = [windows.started(0) for _ in range(3)]
    assert windows.settle() == []  # closed, but nothing has ended: nothing is measured
    later = windows.started(0)
    windows.ended(0, tags[1], np.array([0.0, 5.0]))
    windows.ended(0, tags[0], np.array([1.0, 0.0]))
    windows.ended(0, later, np.array([90.0, 90.0]))  # a short one of the next window
    assert windows.settle() == []
    windows.ended(0, tags[2], np.array([8.0, 1.0]))
    (measured,) = windows.settle()
    assert (measured.row, measured.episodes) == (0, 3)
    assert measured.cost.tolist() == [3.0, 2.0]
    assert measured.satisfied.tolist() == pytest.approx([2.0 / 3.0, 1.0])
    assert windows.settle() == []


def test_windows_are_measured_in_order_and_survive_a_stop():
    budgets = np.array([[1.0], [1.0]])
    windows = EpisodeWindows(budgets, 1)
    old = windows.started(1)
    windows.settle()
    new = windows.started(1)
    windows.settle()
    windows.ended(1, new, np.array([2.0]))
    assert windows.settle() == []
    again = EpisodeWindows(budgets, 1)
    again.restore(windows.state())
    again.ended(1, old, np.array([4.0]))
    assert [m.cost.tolist() for m in again.settle()] == [[4.0], [2.0]]
    assert {m.row for m in again.settle()} == set()


def test_budgets_come_by_task_or_for_all(tmp_path):
    path = tmp_path / "budgets.yaml"
    path.write_text("find: {corner: 1.5, drop: 0}\nfetch: {drop: 2}\n")
    budgets = load_budgets(path)
    made = make_constraints(budgets, ["fetch", "find"], ["drop", "speed", "corner"], "file")
    assert made.rows == ("find", "fetch")
    assert made.terms == ("drop", "corner")
    np.testing.assert_array_equal(made.budgets, [[0.0, 1.5], [2.0, np.nan]])
    assert made.row_of_task.tolist() == [1, 0]
    path.write_text("drop: 1\n")
    together = make_constraints(load_budgets(path), ["fetch", "find"], ["drop"], "file")
    assert together.rows == ("all",)
    assert together.row_of_task.tolist() == [0, 0]
    watched = make_constraints({}, ["fetch", "find"], ["drop"], "file")
    assert not watched.any
    assert watched.rows == ("fetch", "find")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("find: {drop: -1}", r"budgets\.yaml: find\.drop: Input should be greater"),
        ("{}", r"budgets\.yaml: expected a budget"),
        ("find: [", r"budgets\.yaml: not valid YAML"),
        ("- 1", r"budgets\.yaml: top"),
        ("find: {drop: 1}", "expected budgets of fetch too"),
        ("all: {drop: 1}\nfind: {drop: 1}", "expected all alone"),
        ("sing: {drop: 1}", "sing: expected all or one of fetch, find"),
    ],
)
def test_bad_budgets_are_refused_by_name(tmp_path, text, message):
    path = tmp_path / "budgets.yaml"
    path.write_text(text)
    with pytest.raises(BudgetError, match=message):
        make_constraints(load_budgets(path), ["fetch", "find"], ["drop"], str(path))
