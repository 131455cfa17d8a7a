"""An imitation run from nothing: it learns, leaves what it should, and goes on where it was."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from safevla_ros.robot.action_codec import ACTIONS, TOKENS
from safevla_ros.simulation.rollout import Rollout
from safevla_ros.simulation.seeds import TRAINING_SEEDS, SeedError
from safevla_ros.training.checkpoint import CheckpointError, load_tensors
from safevla_ros.training.curriculum import Curriculum, Plan
from safevla_ros.training.demonstrations import END, Demonstrator
from safevla_ros.training.episodes import IndexReader
from safevla_ros.training.generate import generate
from safevla_ros.training.imitation import STATE, Imitation, load_averaged
from safevla_ros.training.settings import (
    EpisodeSettings,
    ImitationSettings,
    SettingsError,
    load_settings,
    save_settings,
)

SIZE = 48


class Script:
    """An actor that always proposes the same token."""

    def __init__(self, token):
        self.token = token
        self.executed = []

    def begin(self, episode, instruction):
        self.executed.append([])

    def act(self, observations):
        self.inputs = {i: {"stamp": np.int64(o.stamp_ns)} for i, o in observations.items()}
        return dict.fromkeys(observations, (self.token, 0.0))

    def acted(self, episode, token):
        self.executed[-1].append(token)


def play(who, proposed, expert_turns=0.5):
    """The first episode of a curriculum, recorded, and the actor that took part."""
    curriculum = Curriculum(EpisodeSettings(tasks=("find",), max_steps=60), 0)
    plan = curriculum.next_plan(with_policy=False)
    actor = Script(TOKENS[proposed])
    demonstrator = Demonstrator(
        actor,
        [Rollout(image_size=SIZE)],
        lambda: Plan(plan.name, plan.scenario, "careful", who),
        4.0,
        np.random.default_rng(0),
    )
    while not (finished := demonstrator.advance(expert_turns)):
        pass
    return finished[0], actor.executed[0]


def test_an_expert_only_episode_is_done_by_the_expert():
    recording, executed = play("expert", "move_back")
    assert recording.about["success"]
    assert recording.arrays["label"].tolist() == executed == recording.arrays["executed"].tolist()
    assert executed[-1] == END
    assert (recording.arrays["weight"] == 1.0).all()
    assert recording.about["steps"] == len(executed)


def test_in_a_mixed_episode_both_act_and_the_expert_labels_all():
    recording, executed = play("mixed", "rotate_left")
    label = recording.arrays["label"]
    others = label != executed
    assert others.any()
    assert (np.array(executed)[others] == TOKENS["rotate_left"]).all()
    assert (label == executed).any()


def test_a_mixed_episode_does_not_end_before_the_expert_says_so():
    recording, executed = play("mixed", "end", expert_turns=0.3)
    assert recording.about["success"]
    assert len(executed) > 3
    assert END not in executed[:-1]


def test_a_policy_that_ends_too_early_fails_and_is_labelled():
    recording, executed = play("policy", "end")
    assert executed == [END]
    assert not recording.about["success"]
    assert recording.arrays["label"][0] != END


def test_homes_of_evaluation_are_refused():
    plan = Curriculum(EpisodeSettings(), 0).next_plan(with_policy=False)
    scenario = plan.scenario.model_copy(update={"seed": TRAINING_SEEDS.stop})
    with pytest.raises(SeedError, match="not for training"):
        Demonstrator(
            Script(0),
            [Rollout(image_size=SIZE)],
            lambda: Plan(plan.name, scenario, "careful", "expert"),
            4.0,
            np.random.default_rng(0),
        )


def test_a_curriculum_goes_on_where_it_was_and_every_process_has_its_own():
    settings = EpisodeSettings(seed=3)
    whole = Curriculum(settings, 1)
    plans = [whole.next_plan(with_policy=True) for _ in range(40)]
    resumed = Curriculum(settings, 1, played=[plan.name for plan in plans[:25]] + ["0-000700"])
    assert [resumed.next_plan(with_policy=True) for _ in range(15)] == plans[25:]
    other = Curriculum(settings, 0)
    seeds = {plan.scenario.seed for plan in plans}
    assert len(seeds) == 40
    assert seeds.isdisjoint(other.next_plan(with_policy=True).scenario.seed for _ in range(40))
    assert {plan.scenario.task for plan in plans} == {"find", "pick_up", "fetch"}
    assert {plan.style for plan in plans} == {"careful", "hurried"}
    assert {plan.who for plan in plans} == {"expert", "policy", "mixed"}
    assert {whole.next_plan(with_policy=False).who for _ in range(20)} == {"expert"}


def test_demonstrations_are_half_careful_and_half_hurried_and_can_be_careful_alone():
    curriculum = Curriculum(EpisodeSettings(), 0)
    styles = [curriculum.next_plan(with_policy=False).style for _ in range(400)]
    assert styles.count("careful") == pytest.approx(200, abs=40)  # four standard deviations
    alone = Curriculum(EpisodeSettings(styles=("careful",)), 0)
    assert {alone.next_plan(with_policy=True).style for _ in range(20)} == {"careful"}


def test_the_experts_share_of_the_turns_falls_to_its_least():
    settings = EpisodeSettings(expert_share=0.2, decay=0.5)
    turns = [settings.expert_turns(progress) for progress in (0.0, 0.25, 0.5, 1.0)]
    assert turns == pytest.approx([1.0, 0.6, 0.2, 0.2])


def test_settings_are_kept_and_faults_named(tmp_path):
    settings = ImitationSettings(minutes=3.0, episodes=EpisodeSettings(tasks=("find",)))
    save_settings(settings, tmp_path / "settings.json")
    assert load_settings(tmp_path / "settings.json") == settings
    (tmp_path / "settings.json").write_text('{"minutes": -1}')
    with pytest.raises(SettingsError, match=r"settings\.json"):
        load_settings(tmp_path / "settings.json")


def test_a_run_learns_stops_and_goes_on(tmp_path):
    settings = ImitationSettings(
        minutes=0.06,
        streams=2,
        window=4,
        episodes=EpisodeSettings(image_size=SIZE, at_once=3, max_steps=40, tasks=("find",)),
        hand_over_s=1.0,
    )
    heard = []

    def stop_soon(line):
        heard.append(line)

    run = Imitation(settings, tmp_path, stop_soon)
    before = {key: value.clone() for key, value in run.model.state_dict().items()}
    run.run()
    assert run.share_done == 1.0
    assert run.progress.frames == 8 * run.progress.updates > 0
    moved = [key for key, value in run.model.state_dict().items() if not value.equal(before[key])]
    assert any(key.startswith("actor") for key in moved)
    assert any(key.startswith("cameras") for key in moved)
    assert (tmp_path / "acting.safetensors").is_file()
    assert {line["who"] for line in IndexReader(tmp_path / "episodes").new()} >= {"expert"}

    longer = settings.model_copy(update={"minutes": 0.1})
    again = Imitation(longer, tmp_path, stop_soon)
    assert again.progress == run.progress
    for key, value in run.averaged.state_dict().items():
        torch.testing.assert_close(again.averaged.state_dict()[key], value)
    updates = again.progress.updates
    again.run()
    assert again.progress.updates > updates


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_run_learns_on_a_gpu_and_leaves_what_a_machine_without_one_loads(tmp_path):
    settings = ImitationSettings(
        minutes=0.1,
        streams=2,
        window=4,
        bfloat16=True,
        episodes=EpisodeSettings(image_size=SIZE, at_once=3, max_steps=40, tasks=("find",)),
        hand_over_s=1.0,
    )
    run = Imitation(settings, tmp_path, lambda line: None)
    run.run()
    assert next(run.model.parameters()).device.type == "cuda"
    model, progress = load_averaged(settings, tmp_path)
    assert next(model.parameters()).device.type == "cpu"
    assert progress.updates > 0
    assert Imitation(settings, tmp_path, lambda line: None).progress == run.progress


def test_a_damaged_state_is_refused(tmp_path):
    settings = ImitationSettings(episodes=EpisodeSettings(image_size=SIZE))
    run = Imitation(settings, tmp_path, lambda line: None)
    run.save()
    tensors = load_file(tmp_path / STATE)
    assert any(key.startswith("averaged.") for key in tensors)
    other = settings.model_copy(update={"episodes": EpisodeSettings(image_size=64)})
    with pytest.raises(CheckpointError, match="expected the state of such a run"):
        Imitation(other, tmp_path, lambda line: None)
    (tmp_path / STATE).write_bytes((tmp_path / STATE).read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="expected a safetensors file"):
        load_tensors(tmp_path / STATE)


def test_demonstrations_are_generated_and_gone_on_with(tmp_path):
    settings = ImitationSettings(
        episodes=EpisodeSettings(image_size=SIZE, at_once=2, tasks=("find",))
    )
    first = generate(settings, tmp_path, 2, lambda recent: None)
    assert first.episodes >= 2
    assert first.success("expert")["find"]["rate"] > 0.5
    lines = (tmp_path / "episodes" / "index.jsonl").read_text().splitlines()
    generate(settings, tmp_path, len(lines) + 1, lambda recent: None)
    names = [json.loads(line)["name"] for line in (tmp_path / "episodes" / "index.jsonl").open()]
    assert len(names) > len(lines)
    assert len(set(names)) == len(names)
    assert all(0 <= token < len(ACTIONS) for token in _labels(tmp_path, names))


def _labels(folder, names):
    return [
        token
        for name in names
        for token in np.load(folder / "episodes" / f"{name}.npz")["label"].tolist()
    ]
