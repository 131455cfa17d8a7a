"""Comparisons in pairs, against cases that are small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from records import record

from safevla_ros.assurance.comparison import compared
from safevla_ros.assurance.evaluation_report import of_suite
from safevla_ros.assurance.statistics import paired_difference


def test_only_the_same_task_and_home_is_compared():
    mine = [record(seed=1), record(seed=2), record("fetch", seed=3)]
    others = [record(seed=2, success=False), record("pick_up", seed=3), record(seed=9)]
    found = compared(mine, others, "household")
    assert found["pairs"] == 1
    assert found["success_difference"]["difference"] == 1.0
    assert compared(mine, [record(seed=9)], "household") is None


def test_costs_are_summed_over_tasks_and_compared_as_difference_and_ratio():
    mine = [record(seed=1, collision=2.0), record("fetch", seed=2, collision=1.0)]
    others = [record(seed=1, collision=6.0), record("fetch", seed=2, collision=4.0, drop=2.0)]
    found = compared(mine, others, "household")
    assert found["cost_difference"]["sum"] == 3.0 - 12.0
    assert found["cost_ratio"]["ratio"] == 3.0 / 12.0
    nothing = compared(others, [record(seed=1), record("fetch", seed=2)], "household")
    assert nothing["cost_ratio"] == {"ratio": None, "interval": None}


def test_a_difference_that_all_pairs_share_is_certain_and_unpaired_noise_does_not_matter():
    rng = np.random.default_rng(0)
    costs = rng.exponential(20.0, 60)
    mine = [record(seed=i, collision=c) for i, c in enumerate(costs)]
    others = [record(seed=i, collision=c + 1.0) for i, c in enumerate(costs)]
    low, high = compared(mine, others, "household")["cost_difference"]["interval"]
    assert low == pytest.approx(-1.0)
    assert high == pytest.approx(-1.0)


def test_the_share_above_the_others_median():
    mine = [record(seed=i, collision=c) for i, c in enumerate((0.0, 3.0, 5.0, 9.0))]
    others = [record(seed=i, collision=c) for i, c in enumerate((1.0, 2.0, 4.0, 8.0))]
    assert compared(mine, others, "household")["above_median"]["rate"] == 0.5  # median 3


@pytest.mark.parametrize(
    ("gained", "lost", "same", "low", "high"),
    [  # PropCIs::diffpropci.mp(lost, gained, n): the same adjusted interval
        (0, 0, 100, -0.0274, 0.0274),
        (10, 4, 86, -0.0157, 0.1334),
    ],
)
def test_intervals_of_paired_rates(gained, lost, same, low, high):
    first = [True] * gained + [False] * lost + [True] * same
    second = [False] * gained + [True] * lost + [True] * same
    found = paired_difference(first, second)
    assert found["difference"] == pytest.approx((gained - lost) / len(first))
    p, q, n = (gained + 1) / (len(first) + 2), (lost + 1) / (len(first) + 2), len(first) + 2
    half = 1.959964 * np.sqrt((p + q - (p - q) ** 2) / n)
    assert found["interval"] == pytest.approx([p - q - half, p - q + half], abs=1e-6)
    assert found["interval"] == pytest.approx([low, high], abs=2e-3)


def test_a_paired_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    truth, held = 0.1, 0
    for _ in range(400):
        both = rng.random(150)
        first, second = both < 0.6, (both + 0.1) < 0.6
        low, high = paired_difference(first.tolist(), second.tolist())["interval"]
        held += low <= truth <= high
    assert held / 400 == pytest.approx(0.95, abs=0.03)


def test_conditions_are_compared_with_the_same_homes_unchanged():
    suites = {
        "tasks": [record(seed=i, collision=1.0) for i in range(4)],
        "instructions": [
            record(suite="instructions", condition=condition, seed=i, collision=cost)
            for i in range(2)
            for condition, cost in (("held_out", 3.0), ("garbled", 5.0))
        ],
    }
    found = of_suite(suites, "instructions", "household")
    assert found["conditions"]["held_out"]["change"]["cost_ratio"]["ratio"] == 3.0
    assert found["conditions"]["garbled"]["change"]["cost_ratio"]["ratio"] == 5.0
    assert found["cumulative_cost"]["sum"] == 4.0
    alone = of_suite({"instructions": suites["instructions"]}, "instructions", "household")
    assert alone["conditions"]["held_out"]["change"] is None


def test_benign_twins_are_compared_with_their_hazards():
    twins = [
        record(suite="benign", condition=condition, seed=i, success=success)
        for i in range(3)
        for condition, success in (("hazards", False), ("benign", True))
    ]
    change = of_suite({"benign": twins}, "benign", "household")["conditions"]["benign"]["change"]
    assert change["success_difference"]["difference"] == 1.0
