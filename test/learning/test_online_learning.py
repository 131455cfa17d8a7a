"""Constrained learning on a task whose optimum is known, stopped and gone on with, in one process and
in two."""

import json
import os
import subprocess
import sys
from pathlib import Path

import box_examples
import numpy as np
import pytest
import torch

from safevla_ros.training.checkpoint import CheckpointError
from safevla_ros.training.online.box import BoxEnvironment
from safevla_ros.training.online.run import STATE
from safevla_ros.training.online.settings import (
    LOG,
    LearningSettings,
    MultiplierSettings,
    PpoSettings,
)
from safevla_ros.training.online.state import load_state, save_state
from safevla_ros.training.online.workers import WorkerError, WorkerWorld
from safevla_ros.training.online.world import History, LocalWorld

WALL_CLOCK = ("elapsed_s", "steps_per_s", "collecting", "share_done")


def settings(**changes):
    ppo = PpoSettings(
        rollout=20,
        minibatches=2,
        clip=0.2,
        gamma=1.0,
        cost_gamma=1.0,
        learning_rate=1e-2,
        critic_learning_rate=1e-2,
        warm_up=2,
        penalty=0.5,
    )
    multipliers = MultiplierSettings(window=32, kp=0.5, ki=0.05, smoothing=0.5)
    told = {"environments": 16, "steps": 14_400, "ppo": ppo, "multipliers": multipliers}
    return LearningSettings(**(told | changes))


def lines(folder):
    found = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in WALL_CLOCK} for line in found]


def at_the_end(folder):
    """Mean return and cost of the last 10 iterations."""
    last = [line["episodes"]["lever"] for line in lines(folder)[-10:]]
    return (
        np.mean([line["return"] for line in last]),
        np.mean([line["cost"]["cost"] for line in last]),
    )


def test_without_constraints_the_budget_is_broken_and_with_them_it_is_met(tmp_path):
    free, bound = tmp_path / "free", tmp_path / "bound"
    box_examples.run(settings(algorithm="ppo"), free).run()
    reward, cost = at_the_end(free)
    assert reward > 9.0  # of 10
    assert cost > 9.0
    box_examples.run(settings(), bound, budget=3.0).run()
    reward, cost = at_the_end(bound)
    assert cost == pytest.approx(3.0, abs=0.6)
    assert reward == pytest.approx(10.0 * (1.0 - 0.7**2), abs=1.0)
    constraint = lines(bound)[-1]["constraints"]["all"]["cost"]
    assert 0.3 < constraint["lambda"] < 3.0
    assert not constraint["saturated"]


def test_a_fixed_penalty_balances_reward_and_cost(tmp_path):
    box_examples.run(settings(algorithm="reward-shaping"), tmp_path).run()
    _, cost = at_the_end(tmp_path)
    # 1 - (1 - a)^2 - a / 2 is largest at a = 3/4.
    assert cost == pytest.approx(7.5, abs=0.7)


def test_multipliers_do_not_move_before_a_window_is_measured_nor_while_critics_warm_up(tmp_path):
    few = settings(steps=16 * 20 * 4, ppo=settings().ppo.model_copy(update={"warm_up": 3}))
    box_examples.run(few, tmp_path).run()
    found = [line["constraints"]["all"]["cost"] for line in lines(tmp_path)]
    assert found[0]["J"] is None
    assert [entry["lambda"] for entry in found[:3]] == [0.001] * 3
    assert found[3]["lambda"] > 0.001


@pytest.mark.parametrize("rule", ["pid", "adam"])
def test_a_stopped_run_goes_on_as_if_it_had_not_been_stopped(tmp_path, rule):
    told = settings(
        environments=4,
        steps=4 * 15 * 6,
        ppo=settings().ppo.model_copy(update={"rollout": 15}),  # episodes of 10 are cut
        multipliers=MultiplierSettings(rule=rule, window=6),
    )
    whole = box_examples.run(told, tmp_path / "whole")
    whole.run()
    first = box_examples.run(told, tmp_path / "parts")
    first.settings = told.model_copy(update={"steps": 180})
    first.run()
    assert first.steps == 180
    second = box_examples.run(told, tmp_path / "parts")
    assert second.steps == 180
    second.run()
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")
    assert second.algorithm.lagrange.state() == whole.algorithm.lagrange.state()
    for name, weights in whole.algorithm.agent.state_dict().items():
        assert torch.equal(second.algorithm.agent.state_dict()[name], weights), name


def test_a_run_asked_to_stop_ends_its_iteration_and_leaves_a_state(tmp_path):
    told = settings(steps=10_000)

    def stop(line):
        run.stopping = True

    run = box_examples.run(told, tmp_path, report=stop)
    run.run()
    assert run.steps == 320
    assert box_examples.run(told, tmp_path).steps == 320


def test_a_state_that_does_not_fit_is_refused_by_name(tmp_path):
    told = settings(steps=320)
    box_examples.run(told, tmp_path).run()
    with pytest.raises(CheckpointError, match="algorithm: expected ppo, got ppo-lagrangian"):
        box_examples.run(settings(algorithm="ppo"), tmp_path)
    with pytest.raises(CheckpointError, match="written with 16 environments, expected 8"):
        box_examples.run(settings(environments=8), tmp_path)
    path = tmp_path / STATE
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match=r"state\.safetensors: expected a safetensors file"):
        box_examples.run(told, tmp_path)


def test_a_nested_state_comes_back(tmp_path):
    shared = torch.arange(6.0)
    state = {"a": [1, None, "x", {3: shared[:3], "k": shared}], "b": np.array([True, False])}
    save_state(tmp_path / "s.safetensors", state)
    back = load_state(tmp_path / "s.safetensors")
    assert back["a"][:3] == [1, None, "x"]
    assert torch.equal(back["a"][3][3], shared[:3])
    assert torch.equal(back["a"][3]["k"], shared)
    assert back["b"].tolist() == [True, False]


def test_two_processes_learn_one_policy(tmp_path):
    """Started as torchrun starts them; each has levers of its own."""
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(root), str(Path(__file__).parent), *sys.path]),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(20_000 + os.getpid() % 20_000),
        "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }
    started = [
        subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("online_process.py")), str(tmp_path)],
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in started:
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors[-2000:]
    told = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert told[0]["weights"] == told[1]["weights"]
    assert told[0]["lagrange"] == told[1]["lagrange"]
    assert told[0]["seen"] != told[1]["seen"]  # their environments are not the same
    log = lines(tmp_path)
    assert [line["steps"] for line in log] == [2 * 4 * 13 * n for n in (1, 2, 3, 4)]
    assert log[0]["episodes"]["lever"]["episodes"] == 2 * 4
    # Episodes of both are counted: eight at once, and a window of six is full at the first look.
    assert {line["constraints"]["all"]["cost"]["episodes"] for line in log} <= {0, 8, 16}
    assert told[0]["resumed_at"] == 208
    with pytest.raises(CheckpointError, match="written by 2 processes"):
        box_examples.run(settings(environments=4), tmp_path)


def test_a_process_that_fails_is_named():
    world = WorkerWorld(box_examples.Broken, range(3), 2)
    try:
        assert world.begin([History() for _ in range(3)]).observation["observation"].shape == (3, 1)
        with pytest.raises(WorkerError, match="worker 0: ValueError: lever 0 is stuck"):
            world.step(np.zeros((3, 1)))
    finally:
        world.close()


def test_an_environment_that_cannot_be_replayed_begins_its_episode_anew():
    world = LocalWorld([BoxEnvironment(box_examples.Lever(), i) for i in range(2)])
    long = [np.zeros(1)] * (box_examples.STEPS + 2)
    begun = world.begin([History(3, [np.zeros(1)] * 4), History(5, long)])
    assert begun.replayed.tolist() == [True, False]
    assert begun.observation["observation"].tolist() == [[0.4], [0.0]]
