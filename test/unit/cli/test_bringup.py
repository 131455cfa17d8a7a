"""The description of the graph: order, what differs by robot, and one sentence on bad options."""

from __future__ import annotations

import hashlib

import pytest
import yaml

from safevla_ros.nodes.graph.bringup import BringupError, Options, describe
from safevla_ros.policy.interface import PolicyError
from safevla_ros.robot.profile import ProfileError
from safevla_ros.simulation.scenario import ScenarioError


def test_safety_comes_first_and_the_policy_last():
    names = [node.name for node in describe(Options(policy="do-nothing")).nodes]
    assert names[:2] == ["safety_watchdog", "cost_monitor"]
    assert names[-1] == "vla_inference"
    assert "sim_robot" in names


def test_stages_never_go_back():
    stages = [node.stage for node in describe(Options(policy="do-nothing")).nodes]
    assert stages == sorted(stages)
    assert stages[0] < stages[1] < stages[2]


def test_a_real_robot_gets_no_simulator_and_the_walls_time():
    graph = describe(Options(robot="stretch", policy="do-nothing"))
    assert "sim_robot" not in [node.name for node in graph.nodes]
    assert not any(node.parameters.get("use_sim_time") for node in graph.nodes)
    assert graph.profile.mode == "shadow"


def test_only_what_the_robot_can_do_without_may_respawn():
    nodes = {node.name: node for node in describe(Options(policy="do-nothing")).nodes}
    required = {name for name, node in nodes.items() if node.required}
    assert required == {"safety_watchdog", "cost_monitor", "sim_robot"}
    assert not any(nodes[name].respawn for name in required)


def test_safety_runs_before_everybody_else():
    nodes = describe(Options(policy="do-nothing")).nodes
    assert max(node.nice for node in nodes[:2]) < min(node.nice for node in nodes[2:])


def test_the_policy_of_a_scenario_is_used_unless_another_is_asked_for(tmp_path):
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text("{name: x, seed: 1, task: find, policy: scripted-hurried}")
    graph = describe(Options(scenario=str(scenario)))
    assert graph.policy == "scripted-hurried"
    assert graph.nodes[-1].parameters["policy"] == "scripted-hurried"
    assert describe(Options(scenario=str(scenario), policy="random")).policy == "random"


@pytest.fixture
def policy(tmp_path):
    """A policy folder of which only the hash is looked at."""
    from safevla_ros.robot.action_codec import ACTIONS

    graph = b"what ONNX Runtime reads"
    (tmp_path / "policy.onnx").write_bytes(graph)
    description = {
        "id": "small",
        "sha256": hashlib.sha256(graph).hexdigest(),
        "representation": "token",
        "image_height": 96,
        "image_width": 128,
        "inputs": {
            "images": {"navigation": "image"},
            "proprioception": "proprioception",
            "previous_token": "previous_token",
        },
        "output": "logits",
        "actions": list(ACTIONS),
        "proprioception": [{"name": "joint.lift", "mean": 0.0, "std": 1.0}],
        "selection": "argmax",
    }
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(description))
    return tmp_path


def test_cameras_are_resized_for_the_policys_file(policy):
    nodes = {node.name: node for node in describe(Options(policy=str(policy))).nodes}
    ingest = nodes["camera_ingest"].parameters
    assert (ingest["image_height"], ingest["image_width"]) == (96, 128)


def test_a_policy_file_that_is_cut_short_is_refused_before_anything_starts(policy):
    with (policy / "policy.onnx").open("r+b") as file:
        file.truncate(10)
    with pytest.raises(PolicyError, match="the file is cut short or another one"):
        describe(Options(policy=str(policy)))
    (policy / "policy.onnx").unlink()
    with pytest.raises(PolicyError, match=r"policy\.onnx: cannot be read"):
        describe(Options(policy=str(policy)))


@pytest.mark.parametrize(
    ("given", "expected"), [("", ""), ("/", ""), ("arm", "/arm"), ("/lab/arm/", "/lab/arm")]
)
def test_namespaces_are_written_one_way(given, expected):
    graph = describe(Options(policy="do-nothing", namespace=given))
    assert graph.namespace == expected
    assert graph.full_name(graph.nodes[0]) == f"{expected}/safety_watchdog"


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        (Options(robot="nobody"), ProfileError, "robot 'nobody': expected one of generic, sim"),
        (Options(mode="loud"), BringupError, "mode: expected one of shadow, observe, enforce"),
        (Options(scenario="nowhere"), ScenarioError, "scenario 'nowhere': expected one of"),
        (Options(policy="nothing"), PolicyError, "policy 'nothing': expected one of"),
        (
            Options(robot="stretch", policy="random", scenario="default"),
            BringupError,
            "robot 'stretch' is not simulated",
        ),
        (
            Options(robot="stretch", policy="scripted-careful"),
            BringupError,
            "uses the simulator's truth",
        ),
        (Options(robot="stretch"), BringupError, "policy: expected a policy folder"),
    ],
)
def test_bad_options_get_one_sentence(options, error, sentence):
    with pytest.raises(error, match=sentence) as failure:
        describe(options)
    assert "\n" not in str(failure.value)
