"""An evaluation plays the same homes whoever plays, goes on where it was stopped, and mixes nothing
up."""

from __future__ import annotations

import dataclasses

import pytest

from safevla_ros.assurance.evaluation import evaluate
from safevla_ros.assurance.playing import Plan, PlanError, Player, make_plan
from safevla_ros.assurance.records import ResultsError, read_results
from safevla_ros.assurance.suites import (
    COSTS,
    SUITES,
    SuiteError,
    Trial,
    trials,
    unrelated_instruction,
)
from safevla_ros.policy.interface import Instruction, PolicyError
from safevla_ros.simulation.home import generate_home
from safevla_ros.simulation.seeds import TRAINING_SEEDS

CAREFUL = Plan("scripted-careful", ("tasks",), 1, 5, physics="fast")


def nothing(done: int, total: int) -> None:
    """Hears of progress."""


@pytest.mark.parametrize("suite", SUITES)
def test_no_suite_plays_in_a_home_of_training(suite):
    found = trials(suite, 1, 50)
    seeds = {trial.scenario.seed for trial in found}
    assert len(seeds) >= 50
    assert not seeds & set(TRAINING_SEEDS)
    assert not seeds & {trial.scenario.seed for trial in trials(suite, 2, 50)}
    assert [trial.index for trial in found] == list(range(len(found)))
    fewer = trials(suite, 1, 10)
    assert found[: len(fewer)] == fewer


def test_tasks_play_no_home_twice():
    assert len({trial.scenario.seed for trial in trials("tasks", 1, 50)}) == 150


def test_homes_of_a_cost_have_its_hazard():
    for term, (_, hazards) in COSTS.items():
        home = generate_home(trials(term, 3, 1)[0].scenario)
        assert set(home.hazards) == set(hazards)
        assert not home.hazard_free


def test_changed_and_benign_homes_are_the_same_homes():
    plain = {trial.scenario.seed: trial.scenario for trial in trials("tasks", 4, 1)}
    for trial in trials("visual", 4, 1):
        home, other = generate_home(plain[trial.scenario.seed]), generate_home(trial.scenario)
        assert (home.start, home.goods) == (other.start, other.goods)
        looks = (home.fixtures, home.floors, home.light)
        changed = trial.condition in ("colour", "light", "material", "texture")
        assert (looks != (other.fixtures, other.floors, other.light)) == changed
    twins = trials("benign", 4, 2)
    for with_hazards, without in zip(twins[::2], twins[1::2], strict=True):
        home, twin = generate_home(with_hazards.scenario), generate_home(without.scenario)
        assert twin.hazard_free
        assert (home.start, home.target_class, home.rooms) == (
            twin.start,
            twin.target_class,
            twin.rooms,
        )
    assert any(not generate_home(trial.scenario).hazard_free for trial in twins)
    for trial in trials("impossible", 4, 1):
        assert not generate_home(trial.scenario).target_ids


def test_an_expert_succeeds_and_is_recorded(tmp_path):
    heard = []
    records = evaluate(make_plan(CAREFUL), tmp_path, 1, lambda *counts: heard.append(counts))[
        "tasks"
    ]
    assert [record.task for record in records] == ["find", "pick_up", "fetch"]
    assert all(record.success and record.ended for record in records)
    assert all(record.engagement == "success" for record in records)
    assert not any(record.gated for record in records)
    assert heard[0] == (0, 3)
    assert heard[-1] == (3, 3)
    results = read_results(tmp_path)
    assert results.suites == {"tasks": records}
    assert results.name == "scripted-careful"
    assert results.compute["process_s"] > 0.0


def test_a_stopped_evaluation_goes_on_and_gives_what_a_whole_one_gives(tmp_path):
    plan = make_plan(dataclasses.replace(CAREFUL, policy="random", suites=("corner",), episodes=3))
    whole = evaluate(plan, tmp_path / "whole", 1, nothing)
    lines = (tmp_path / "whole/corner.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "cut").mkdir()
    cut = tmp_path / "cut/corner.jsonl"
    cut.write_text("".join(lines[:2]) + lines[2][:20])  # killed while it wrote
    heard = []
    again = evaluate(plan, tmp_path / "cut", 1, lambda done, total: heard.append(done))
    assert heard[0] == 1
    assert again == whole
    assert sorted(cut.read_text().splitlines()) == sorted("".join(lines).splitlines())
    with pytest.raises(ResultsError, match="holds another evaluation"):
        evaluate(dataclasses.replace(plan, seed=6), tmp_path / "whole", 1, nothing)


def short(suite: str, number: int = 0, time_limit_s: float = 10.0) -> Trial:
    """A trial that is soon over."""
    trial = trials(suite, 5, 1)[number]
    limited = trial.scenario.model_copy(update={"time_limit_s": time_limit_s})
    return dataclasses.replace(trial, scenario=limited)


def test_doing_nothing_is_idle_and_frozen():
    record = Player(make_plan(dataclasses.replace(CAREFUL, policy="do-nothing"))).play(
        short("tasks")
    )
    assert (record.engagement, record.freeze_rate, record.deadlock) == ("idle", 1.0, True)
    assert not record.ended
    assert record.refused
    assert record.under("household").cost == 0.0


def test_several_specifications_are_charged_in_one_playing_as_each_alone():
    plan = dataclasses.replace(CAREFUL, policy="random", specifications=("paper", "household"))
    both = Player(plan).play(short("tasks", 1))
    assert list(both.charges) == ["paper", "household"]
    for name in plan.specifications:
        alone = Player(dataclasses.replace(plan, specifications=(name,))).play(short("tasks", 1))
        assert alone.charges[name] == both.charges[name]
        assert alone.steps == both.steps


def test_a_gate_that_observes_changes_nothing_and_is_recorded():
    plan = dataclasses.replace(CAREFUL, policy="random")
    free = Player(plan).play(short("tasks", 1))
    observed = Player(dataclasses.replace(plan, gate="observe")).play(short("tasks", 1))
    assert observed.interventions == {}
    assert observed.model_copy(update={"interventions": None}) == free


def test_there_is_nothing_to_find_in_an_impossible_home():
    record = Player(dataclasses.replace(CAREFUL, policy="random")).play(short("impossible"))
    assert not record.success
    assert record.engagement is None


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"policy": "scripted-wild"}, PolicyError, "scripted-careful"),
        ({"policy": "nobody"}, PolicyError, "expected one of"),
        ({"suites": ("tasks", "nothing")}, SuiteError, "expected one of tasks"),
        ({"physics": "real"}, PlanError, "expected one of fast, full"),
        ({"gate": "shadow"}, PlanError, "expected one of off, observe, enforce"),
        ({"ablate": "blind"}, PlanError, "neither sees nor hears"),
    ],
)
def test_what_cannot_be_evaluated_is_named(change, error, words):
    with pytest.raises(error, match=words):
        make_plan(dataclasses.replace(CAREFUL, **change))


def test_a_deaf_policy_hears_of_another_object():
    scenario = trials("tasks", 5, 1)[1].scenario
    player = Player(dataclasses.replace(CAREFUL, ablate="deaf"))
    heard = player._heard(Instruction("pick up the mug", "pick_up"), scenario)
    assert heard == Instruction(unrelated_instruction(scenario), "pick_up")
    texts = {unrelated_instruction(trial.scenario) for trial in trials("tasks", 5, 20)}
    assert len(texts) > 20
