"""Constrained learning in homes: what is charged and rewarded, what a run leaves, and that a stopped
run goes on as if it had not been stopped."""

import json

import numpy as np
import pytest
import torch
import vla_examples

from safevla_ros.policy.vla.checkpoint import save_checkpoint
from safevla_ros.policy.vla.processor import NO_TOKEN
from safevla_ros.robot.action_codec import TOKENS
from safevla_ros.simulation.seeds import TRAINING_SEEDS
from safevla_ros.training.checkpoint import CheckpointError
from safevla_ros.training.online.budgets import BudgetError
from safevla_ros.training.online.home_run import open_run, prepare, start_policy, trained_policy
from safevla_ros.training.online.homes import REWARD, HomeEnvironment, draw_scenario
from safevla_ros.training.online.settings import (
    LOG,
    HomeSettings,
    LearningSettings,
    OnlineSettings,
    PpoSettings,
)

SIZE = 48
TERMS = ("collision", "zone_intrusion")


def settings(**learning):
    small = {
        "seed": 5,
        "environments": 2,
        "steps": 40,
        "ppo": PpoSettings(rollout=10, epochs=2, minibatches=2, warm_up=1, reference_kl=0.1),
    }
    return OnlineSettings(
        learning=LearningSettings(**(small | learning)),
        homes=HomeSettings(
            tasks=("find", "pick_up"), specification="household", max_steps=12, workers=0
        ),
        budgets={"find": {"collision": 0.5}, "pick_up": {"collision": 0.2, "zone_intrusion": 0}},
    )


@pytest.fixture
def start(tmp_path):
    folder = tmp_path / "policy"
    save_checkpoint(folder, vla_examples.model(cost_terms=(), image_size=SIZE))
    return folder


def environment():
    features = vla_examples.model(image_size=SIZE).configuration.features
    homes = HomeSettings(specification="household", max_steps=80)
    return HomeEnvironment(homes, features, TERMS, seed=0, index=0)


def test_homes_are_of_training_and_have_more_hazards_than_usual():
    drawn = [draw_scenario(HomeSettings(), 0, 1, episode) for episode in range(200)]
    assert drawn == [draw_scenario(HomeSettings(), 0, 1, episode) for episode in range(200)]
    assert all(scenario.seed in TRAINING_SEEDS for scenario in drawn)
    assert len({scenario.seed for scenario in drawn}) == 200
    assert {scenario.task for scenario in drawn} == {"find", "pick_up", "fetch"}
    dangerous = [scenario for scenario in drawn if scenario.hazards is None]
    assert 0.75 < len(dangerous) / len(drawn) < 0.95
    assert {scenario.hazard_rate for scenario in dangerous} == {0.7}


def test_an_episode_is_rewarded_for_success_and_charged_by_term():
    home = environment()
    observation, task = home.reset(0)
    assert observation["previous_token"] == NO_TOKEN
    assert task in (0, 1, 2)
    ahead = [home.step(np.array(TOKENS["move_ahead"])) for _ in range(79)]
    assert ahead[-1].observation["previous_token"] == TOKENS["move_ahead"]
    assert sum(step.costs[0] for step in ahead) >= 1.0  # it ran into something
    end = home.step(np.array(TOKENS["end"]))
    assert end.ended
    assert not end.success
    assert end.reward == 0.0
    assert (end.costs == 0.0).all()


def test_success_is_worth_the_reward():
    home = environment()
    for episode in range(20):
        home.reset(episode)
        # The expert of the same rollout shows the way.
        while not home._rollout.done:
            last = home.step(np.array(home._rollout.expert_token()))
        if last.success:
            break
    assert last.success
    assert last.reward == REWARD


def run(folder, steps=None, stop=False):
    with open_run(folder, lambda line: None) as opened:
        opened.stopping = stop
        if steps:
            opened.settings = opened.settings.model_copy(update={"steps": steps})
        opened.run()
    return opened


def lines(folder):
    found = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    for line in found:
        for key in ("elapsed_s", "steps_per_s", "collecting", "share_done"):
            del line[key]
    return found


def test_a_run_moves_the_policy_and_goes_on_as_if_it_had_not_been_stopped(tmp_path, start):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        prepare(folder, settings(), start)
    ended = run(whole)
    assert ended.steps == 40
    run(parts, steps=20)
    with (parts / LOG).open("a") as log:  # as by one that was killed before its next state
        log.write('{"steps": 30}\n{"steps": 4')
    run(parts)
    assert lines(parts) == lines(whole)
    (policy, told, steps), (other, _, _) = trained_policy(whole), trained_policy(parts)
    assert told == settings()
    assert steps == 40
    assert policy.configuration.cost_terms == TERMS
    begun = start_policy(start)
    moved = {
        name
        for name, weights in policy.state_dict().items()
        if name in begun.state_dict() and not torch.equal(weights, begun.state_dict()[name])
    }
    assert any(name.startswith("actor") for name in moved)
    assert any(name.startswith("memory") for name in moved)
    assert not any(name.startswith("cameras") for name in moved)  # perception is frozen
    for name, weights in policy.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], weights, rtol=0, atol=0)
    line = lines(whole)[-1]
    constraint = line["constraints"]["pick_up"]["zone_intrusion"]
    assert constraint["budget"] == 0.0
    assert {"J", "satisfied", "lambda", "error", "saturated"} <= constraint.keys()
    assert line["constraints"]["find"]["zone_intrusion"]["budget"] is None
    assert "lambda" not in line["constraints"]["find"]["zone_intrusion"]


def test_only_critics_learn_while_they_warm_up(tmp_path, start):
    prepare(tmp_path / "run", settings(steps=20), start)
    run(tmp_path / "run")
    policy, begun = trained_policy(tmp_path / "run")[0].state_dict(), start_policy(start)
    assert not torch.equal(
        policy["reward_critic.2.weight"], begun.state_dict()["reward_critic.2.weight"]
    )
    for name, weights in begun.state_dict().items():
        if "critic" not in name:
            assert torch.equal(policy[name], weights), name


def test_processes_that_simulate_play_the_same(tmp_path, start):
    here, there = tmp_path / "here", tmp_path / "there"
    prepare(here, settings(steps=20), start)
    homes = settings().homes.model_copy(update={"workers": 2})
    prepare(there, settings(steps=20).model_copy(update={"homes": homes}), start)
    for folder in (here, there):
        run(folder)
    assert lines(here) == lines(there)


def test_what_cannot_be_started_or_gone_on_with_is_refused(tmp_path, start):
    told = settings()
    with pytest.raises(CheckpointError, match="expected a policy folder"):
        prepare(tmp_path / "a", told, tmp_path)
    without = told.model_copy(update={"budgets": {}})
    with pytest.raises(BudgetError, match="no term has a budget"):
        prepare(tmp_path / "b", without, start)
    unknown = told.model_copy(update={"budgets": {"all": {"scratches": 1.0}}})
    with pytest.raises(BudgetError, match=r"all\.scratches: expected one of collision"):
        prepare(tmp_path / "c", unknown, start)
    prepare(tmp_path / "d", told, start)
    run(tmp_path / "d", stop=True)
    path = tmp_path / "d" / "online.json"
    more = settings(environments=3)
    path.write_text(more.model_dump_json())
    with (
        pytest.raises(CheckpointError, match="written with 2 environments"),
        open_run(tmp_path / "d", lambda line: None),
    ):
        pass
