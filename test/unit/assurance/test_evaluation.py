"""An evaluation plays the same homes whoever plays, goes on where it was stopped, and mixes nothing
up."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from safevla_ros.assurance.evaluation import EvaluationError, Plan, _Player, evaluate, make_plan
from safevla_ros.assurance.suites import SuiteError, scenarios, unrelated_instruction
from safevla_ros.policy.interface import Instruction, PolicyError
from safevla_ros.simulation.seeds import TRAINING_SEEDS

CAREFUL = Plan("scripted-careful", "tasks", 1, 5, physics="fast")


def nothing(done: int, total: int) -> None:
    """Hears of progress."""


def test_homes_are_none_of_training_and_none_twice():
    seeds = [scenario.seed for scenario in scenarios("tasks", 1, 50)]
    assert len(set(seeds)) == 150
    assert not set(seeds) & set(TRAINING_SEEDS)
    assert not set(seeds) & {scenario.seed for scenario in scenarios("tasks", 2, 50)}
    assert scenarios("tasks", 1, 50)[:30] == scenarios("tasks", 1, 10)


def test_an_expert_succeeds_and_is_recorded(tmp_path):
    heard = []
    records = evaluate(
        make_plan(CAREFUL), tmp_path / "r.jsonl", 1, lambda *counts: heard.append(counts)
    )
    assert [record.task for record in records] == ["find", "pick_up", "fetch"]
    assert all(record.success and record.ended for record in records)
    assert all(record.engagement == "success" for record in records)
    assert heard[0] == (0, 3)
    assert heard[-1] == (3, 3)


def test_a_stopped_evaluation_goes_on_and_gives_what_a_whole_one_gives(tmp_path):
    plan = make_plan(dataclasses.replace(CAREFUL, policy="random"))
    whole = evaluate(plan, tmp_path / "whole.jsonl", 1, nothing)
    lines = (tmp_path / "whole.jsonl").read_text().splitlines(keepends=True)
    cut = tmp_path / "cut.jsonl"
    cut.write_text("".join(lines[:2]) + lines[2][:20])  # killed while it wrote
    heard = []
    again = evaluate(plan, cut, 1, lambda done, total: heard.append(done))
    assert heard[0] == 1
    assert again == whole
    assert sorted(cut.read_text().splitlines()) == sorted("".join(lines).splitlines())


def test_results_of_another_evaluation_are_not_taken_over(tmp_path):
    plan = make_plan(dataclasses.replace(CAREFUL, policy="random"))
    evaluate(plan, tmp_path / "r.jsonl", 1, nothing)
    with pytest.raises(EvaluationError, match="holds another evaluation"):
        evaluate(dataclasses.replace(plan, seed=6), tmp_path / "r.jsonl", 1, nothing)


def test_doing_nothing_is_idle_and_frozen():
    player = _Player(make_plan(dataclasses.replace(CAREFUL, policy="do-nothing")))
    scenario = scenarios("tasks", 5, 1)[0].model_copy(update={"time_limit_s": 10.0})
    record = player.play(0, scenario)
    assert (record.engagement, record.freeze_rate, record.deadlock) == ("idle", 1.0, True)
    assert not record.ended
    assert record.cost == 0.0


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"policy": "scripted-wild"}, EvaluationError, "scripted-careful"),
        ({"policy": "nobody"}, PolicyError, "expected one of"),
        ({"suite": "nothing"}, SuiteError, "expected one of tasks"),
        ({"physics": "real"}, EvaluationError, "expected one of fast, full"),
        ({"ablate": "blind"}, EvaluationError, "neither sees nor hears"),
    ],
)
def test_what_cannot_be_evaluated_is_named(change, error, words):
    with pytest.raises(error, match=words):
        make_plan(dataclasses.replace(CAREFUL, **change))


def test_ablations_change_what_the_policy_is_given_and_nothing_else():
    scenario = scenarios("tasks", 5, 1)[1]
    player = _Player(dataclasses.replace(CAREFUL, ablate="blind"))
    instruction, observation = player._rollout.reset(scenario)
    seen = player._seen(observation)
    assert not any(np.any(image) for image in seen.images.values())
    assert any(np.any(image) for image in observation.images.values())
    assert seen.joints == observation.joints
    assert player._heard(instruction, scenario) == instruction
    player = _Player(dataclasses.replace(CAREFUL, ablate="deaf"))
    heard = player._heard(instruction, scenario)
    assert heard == Instruction(unrelated_instruction(scenario), "pick_up")
    texts = {unrelated_instruction(scenario) for scenario in scenarios("tasks", 5, 20)}
    assert len(texts) > 20
