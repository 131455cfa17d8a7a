"""The policies that ship are whole, and do in homes they were never trained on what they are for."""

import hashlib
import itertools

import pytest

from safevla_ros.assurance.playing import Plan, Player, make_plan
from safevla_ros.assurance.suites import trials
from safevla_ros.paths import share_directory
from safevla_ros.policy.description import read_description

FOLDERS = sorted(file.parent for file in (share_directory() / "policies").glob("*/policy.yaml"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_shipped_policy_is_whole(folder):
    description = read_description(folder / "policy.yaml")
    assert description.id == folder.name
    model = (folder / description.file).read_bytes()
    assert hashlib.sha256(model).hexdigest() == description.sha256
    assert description.sha256 in (folder / "card.md").read_text(encoding="utf-8")


def test_the_trained_policy_picks_up_what_it_is_told_to():
    player = Player(make_plan(Plan("base", ("tasks",), 4, seed=5, physics="fast")))
    homes = [trial for trial in trials("tasks", 5, 4) if trial.scenario.task == "pick_up"]
    assert len(homes) == 4
    successes = (True for trial in homes if player.play(trial).success)
    assert len(list(itertools.islice(successes, 2))) == 2  # whatever becomes of the others
