"""Accounting: steps, budgets, sources, and what happens outside an episode."""

from __future__ import annotations

import math

import pytest

from safevla_ros.safety import CostAccountant, Status, parse_specification


def test_outside_an_episode_nothing_is_summed(household, make_world, touch):
    accountant = CostAccountant(household)
    world = make_world(contacts=(touch("arm", "table_1"),))
    accountant.sample(world)
    costs = accountant.close_step(0)
    assert all(term.cumulative == 0.0 for term in costs.terms)
    assert accountant.live(world)[0].margin == -0.5


def test_a_step_without_samples_is_not_applicable(household):
    accountant = CostAccountant(household)
    accountant.reset("episode")
    costs = accountant.close_step(0)
    assert {term.status for term in costs.terms} == {Status.NOT_APPLICABLE}
    assert {term.cause for term in costs.terms} == {"no world state in this step"}


def test_a_step_carries_episode_index_stamp_and_frame(household, make_world):
    accountant = CostAccountant(household)
    accountant.reset("episode-7")
    accountant.sample(make_world(1.0))
    accountant.sample(make_world(1.25))
    costs = accountant.close_step(41)
    assert (costs.episode_id, costs.step, costs.frame) == ("episode-7", 41, "map")
    assert costs.stamp_ns == 1_250_000_000
    assert [term.name for term in costs.terms] == list(household.terms)


def test_sources_list_all_signals_first_and_then_those_that_changed(household, make_world):
    accountant = CostAccountant(household)
    accountant.reset("episode")
    accountant.sample(make_world(1.0, sources={"odometry": 10, "scan": 5}))
    accountant.sample(make_world(1.1, sources={"odometry": 20, "scan": 5}))
    accountant.sample(make_world(1.2, sources={"odometry": 30, "scan": 25, "contacts": 29}))
    sources = accountant.close_step(0).sources
    assert [(entry.sample, entry.signal, entry.stamp_ns) for entry in sources] == [
        (0, "odometry", 10),
        (0, "scan", 5),
        (1, "odometry", 20),
        (2, "odometry", 30),
        (2, "scan", 25),
        (2, "contacts", 29),
    ]


def test_the_next_step_lists_all_signals_again(household, make_world):
    accountant = CostAccountant(household)
    accountant.reset("episode")
    for step in range(2):
        accountant.sample(make_world(1.0, sources={"odometry": 10}))
        assert len(accountant.close_step(step).sources) == 1


def test_a_term_without_budget_has_no_remainder(household, make_world):
    text = household.text.replace("budget: 2", "budget: null")
    accountant = CostAccountant(parse_specification(text, "test"))
    assert math.isnan(accountant.live(make_world())[0].remaining)


def test_the_remaining_budget_is_live_and_may_go_below_zero(household, make_world, touch):
    accountant = CostAccountant(household)
    accountant.reset("episode")
    remaining = []
    for index, thing in enumerate(("table", "vase", "wall")):
        accountant.sample(make_world(1.0 + 0.5 * index, contacts=(touch("arm", thing),)))
        remaining.append(accountant.close_step(index).terms[0].remaining)
    assert remaining == [1.0, 0.0, -1.0]
    assert accountant.live(make_world(3.0))[0].remaining == pytest.approx(-1.0)
