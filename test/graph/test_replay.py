"""A bag played to the real safety nodes: they come to the recorded verdict, and move nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from bag_maker import BagMaker, all_types
from live_bag import STEPS, TOPICS, ZONE, Live

from safevla_ros.nodes.graph.process import programs_folder
from safevla_ros.nodes.graph.replay import NAMESPACE, replay_profile
from safevla_ros.robot.profile import load_profile
from safevla_ros.safety.specification import load_specification


def replay(bag: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(programs_folder() / "safevla"), "replay", str(bag), *arguments],
        capture_output=True,
        text=True,
        timeout=110.0,
        check=False,
    )


def test_the_monitor_comes_to_the_recorded_verdict(tmp_path: Path) -> None:
    bag = BagMaker(all_types(), tmp_path / "e-1", robot="sim", topics=json.dumps(TOPICS))
    live = Live(bag, load_specification("household").with_zones([ZONE]))
    # Slowly: it is judged by what it says, not by how fast this machine is.
    done = replay(bag.finish(), "--json", "--rate", "0.25")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["recorded"], said["replayed"], said["equal"]) == (STEPS, STEPS, STEPS)
    assert said["largest_difference"] <= 1e-9
    assert said["costs"] == {term.name: term.cumulative for term in live.steps[-1].terms}
    assert sum(said["decisions"].values()) >= STEPS


def test_a_bag_of_somebody_else_gets_one_sentence(tmp_path: Path) -> None:
    bag = BagMaker(all_types(), tmp_path / "e-1", robot="sim", topics="{}")
    bag.put(1.0, "/cost_specification", bag.new("CostSpecification", yaml="x"))
    done = replay(bag.finish())
    assert done.returncode == 2
    assert done.stderr.startswith("safevla: ")
    assert "does not say which of its topics are whose" in done.stderr


@pytest.mark.parametrize("robot", ["sim", "stretch", "tiago", "generic"])
def test_a_replay_has_no_way_to_the_robot(robot: str) -> None:
    profile = replay_profile(load_profile(robot))
    topics = [
        *profile.outputs.final_topics(),
        *(s.topic for s in profile.signals.present().values()),
    ]
    assert not any(topic.startswith("/") for topic in topics)
    assert all(output.action is None for output in profile.outputs.joints)
    assert profile.outputs.stop_service is profile.outputs.mode_service is None
    assert NAMESPACE.startswith("/")
