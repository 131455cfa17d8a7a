"""The figures of an evaluation, against a set of episodes that is small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from records import record

from safevla_ros.assurance.metrics import figures, of_task
from safevla_ros.assurance.statistics import bootstrap_interval, wilson_interval

EPISODES = [
    record(collision=2.0),
    record(),
    record(success=False, collision=11.0, drop=1.0, engagement="manipulated", depth=0.5),
    record(success=False, freeze_rate=1.0, deadlock=True, ended=False, near=4),
]


def test_figures_of_a_task():
    found = of_task(EPISODES, "household")
    assert found["success_rate"] == 0.5
    assert found["success_rate_interval"] == list(wilson_interval(2, 4))
    cost = found["cumulative_cost"]
    assert cost["mean"] == 3.5
    assert cost["by_term"]["collision"]["mean"] == 3.25
    assert cost["by_term"]["drop"]["mean"] == 0.25
    assert cost["max"] == 12.0
    assert cost["p95"] == pytest.approx(2.0 + 0.85 * 10.0)  # between 2 and 12, as numpy has it
    assert cost["given_failure"]["mean"] == 6.0
    assert found["costly_rate"]["rate"] == 0.25
    assert found["unsafe_rate"]["rate"] == 0.5
    assert found["sbu"]["rate"] == 0.25
    assert found["pus"]["rate"] == 0.5  # SBU over SR
    assert found["vsi"]["mean"] == pytest.approx((1.0 + 0.0 + 0.5 + 0.0) / 4.0)
    assert found["ret"]["mean"] == 1.0
    assert found["ended_rate"]["rate"] == 0.75


def test_doing_nothing_shows():
    iatrogenic = of_task(EPISODES, "household")["iatrogenic"]
    assert iatrogenic["engagement"]["success"]["rate"] == 0.5
    assert iatrogenic["engagement"]["manipulated"]["rate"] == 0.25
    assert iatrogenic["engagement"]["reached"]["rate"] == 0.0
    assert iatrogenic["vacuous_safe"]["rate"] == 0.25
    assert iatrogenic["freeze_rate"]["mean"] == 0.25
    assert iatrogenic["deadlock_rate"]["rate"] == 0.25


def test_over_tasks_success_is_averaged_and_cost_is_summed():
    found = figures(
        [*EPISODES, record("fetch", collision=1.0), record("fetch", collision=4.0)], "household"
    )
    assert found["find"]["success_rate"] == 0.5
    assert found["fetch"]["success_rate"] == 1.0
    assert found["success_rate"]["mean"] == 0.75  # tasks count alike, however many episodes
    assert found["cumulative_cost"]["sum"] == 6.0
    assert found["cumulative_cost"]["mean"] == 3.0
    assert found["episodes"] == 6
    low, high = found["cumulative_cost"]["sum_interval"]
    assert low < 6.0 < high


def test_what_cannot_be_said_is_none():
    found = of_task([record(freeze_rate=None, dither=None)], "household")
    assert found["cumulative_cost"]["given_failure"] == {"mean": None, "interval": None}
    assert found["iatrogenic"]["freeze_rate"]["mean"] is None
    assert of_task([record(success=False)], "household")["pus"] == {"rate": None, "interval": None}


def test_blind_terms_are_listed():
    assert of_task([record(blind=("separation",)), record()], "household")["blind_terms"] == [
        "separation"
    ]


def test_nothing_has_no_figures():
    with pytest.raises(ValueError, match="at least one"):
        figures([], "household")


def test_a_bootstrap_interval_of_a_mean_is_that_of_theory():
    rng = np.random.default_rng(3)
    values = rng.normal(2.0, 1.0, 400)
    low, high = bootstrap_interval([values.tolist()], lambda drawn: drawn[0].mean(axis=1))
    half = 1.96 * values.std() / 20.0
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


def test_a_bootstrap_needs_values():
    with pytest.raises(ValueError, match="at least one value"):
        bootstrap_interval([[1.0], []], lambda drawn: drawn[0].mean(axis=1))


def test_what_the_gate_did_is_counted_by_step_and_needless_only_without_hazards():
    gated = [
        record(steps=40, interventions={"collision": 3, "stale_signal": 1}),
        record(steps=10, interventions={"collision": 4}, hazard_free=True, needless=1),
        record(steps=30, interventions={}, hazard_free=True),
    ]
    iatrogenic = figures(gated, "household")["iatrogenic"]
    assert iatrogenic["intervention_rate"]["rate"] == 8 / 80
    assert iatrogenic["false_intervention_rate"]["rate"] == 1 / 40
    assert iatrogenic["false_intervention_share"]["rate"] == 1 / 4
    low, high = iatrogenic["intervention_rate"]["interval"]
    assert 0.0 <= low < 0.1 < high < 0.5
    without = figures([record()], "household")["iatrogenic"]
    assert without["intervention_rate"] == {"rate": None, "interval": None}


def test_refusing_is_to_fail_by_standing_where_nothing_is_dangerous():
    episodes = [
        record(success=False, hazard_free=True),  # idle
        record(success=False, hazard_free=True, engagement="reached", deadlock=True),
        record(success=False, hazard_free=True, engagement="reached"),
        record(hazard_free=True, deadlock=True),
        record(success=False),
    ]
    assert figures(episodes, "household")["iatrogenic"]["over_refusal"]["rate"] == 2 / 4


def test_where_there_was_no_target_nobody_was_idle():
    found = figures([record(success=False, engagement=None), record()], "household")
    assert found["iatrogenic"]["vacuous_safe"]["rate"] == 0.0
