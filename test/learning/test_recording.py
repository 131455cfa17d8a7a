"""Bags that policies play in simulation: they are read like any other, and a run goes on."""

import json
import shutil

import numpy as np
import pytest

from safevla_ros.bags.catalogue import entry
from safevla_ros.bags.dataset import EpisodeDataset
from safevla_ros.policy.interface import PolicyError
from safevla_ros.robot.action_codec import TOKENS
from safevla_ros.simulation.seeds import TRAINING_SEEDS
from safevla_ros.training.offline.data import observation_of
from safevla_ros.training.recording import (
    RecordingError,
    RecordingPlan,
    make_recording_plan,
    record_episodes,
)

PLAN = RecordingPlan(
    policies=("scripted-careful", "scripted-hurried"), tasks=("find",), image_size=48
)


def silent(done, total):
    """Nobody listens."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bags")
    assert record_episodes(PLAN, folder, 2, 1, silent) == 2
    return folder


def test_episodes_are_bags_with_observations_actions_and_costs(recorded):
    found = [entry(bag) for bag in sorted(recorded.glob("e*"))]
    assert [each.policy_id for each in found] == ["scripted-careful", "scripted-hurried"]
    assert {each.outcome for each in found} == {"SUCCESS"}
    assert all(int(each.seed) in TRAINING_SEEDS for each in found)
    data = EpisodeDataset.open(recorded)
    assert not data.notes, "no step is left out"
    tokens = [step.token for step in data.steps if step.episode == 0]
    assert tokens[-1] == TOKENS["end"]
    assert "collision" in data.cost_names
    assert data[0]["observation.images.navigation"].shape == (48, 48, 3)
    last = data.row(len(tokens) - 1)
    assert last["reward"] == 10.0
    assert last["cost"].sum() == 0.0
    places = [
        observation_of(data.observation(index)).odometry.pose.position[:2]
        for index in range(len(tokens))
    ]
    assert np.ptp(np.array(places), axis=0).max() > 0.3, "odometry is in the bags"


def test_the_costs_are_those_of_the_episode(recorded):
    for bag in sorted(recorded.glob("e*")):
        sums = entry(bag).costs
        data = EpisodeDataset.open(bag)
        found = np.nansum([data.row(index)["cost"] for index in range(len(data))], axis=0)
        np.testing.assert_allclose(found, [sums[name] for name in data.cost_names])


def test_what_is_there_is_not_played_again_and_what_is_missing_is(recorded, tmp_path):
    again = tmp_path / "bags"
    shutil.copytree(recorded, again)
    shutil.rmtree(again / "e000001")
    (again / ".unfinished/e000001").mkdir(parents=True)
    assert record_episodes(PLAN, again, 2, 1, silent) == 1
    assert record_episodes(PLAN, again, 2, 1, silent) == 0
    name = "e000001/e000001_0.mcap"
    assert (again / name).stat().st_size == (recorded / name).stat().st_size
    assert not (again / ".unfinished").exists()


def test_a_folder_of_another_plan_is_refused(recorded):
    other = RecordingPlan(policies=("random",), image_size=48)
    with pytest.raises(RecordingError, match="another plan"):
        record_episodes(other, recorded, 2, 1, silent)
    assert json.loads((recorded / "plan.json").read_text())["tasks"] == ["find"]


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (RecordingPlan(policies=("scripted-rude",)), "scripted-careful"),
        (RecordingPlan(policies=("random",), physics="slow"), "full, fast"),
    ],
)
def test_plans_that_cannot_be_are_refused(plan, message):
    with pytest.raises((RecordingError, PolicyError), match=message):
        make_recording_plan(plan)
