"""Policies from ONNX files: run as their description says, and refused with one sentence else."""

import hashlib
import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tiny_policy import CHUNK_STEPS, COLUMNS, SIZE, graph, write, write_chunk

from safevla_ros.policy.interface import Instruction, Observation, PolicyError
from safevla_ros.policy.load import load_policy
from safevla_ros.robot.geometry import planar
from safevla_ros.robot.profile import load_profile
from safevla_ros.robot.state import BaseVelocity, Joint, Odometry

ROLES = load_profile("sim").roles


def observe(red=0, x=0.0, yaw=0.0, lift=0.5, held=False, size=SIZE):
    image = np.zeros((size, size, 3), np.uint8)
    image[..., 0] = red
    return Observation(
        stamp_ns=0,
        images={"navigation": image},
        joints={"lift": Joint(lift)},
        odometry=Odometry("odom", planar(x, 2.0, yaw), BaseVelocity()),
        object_in_hand=held,
    )


def expected_log_probabilities(row):
    row = np.asarray(row, float)
    return row - np.log(np.exp(row).sum())


def test_the_graph_gets_images_normalised_state_and_the_previous_token(tmp_path):
    policy = load_policy(write(tmp_path), ROLES)
    policy.reset(Instruction("go"))
    chunk = policy.act(observe(red=3, x=5.0, lift=1.0, held=True))
    rest = [0.0] * 14
    # The first observation is the origin: x is 0, whatever odometry says. No token came before.
    first = [3.0, 0.0, 1.0, 2.0, 1.0, 20.0, *rest]
    second = [*first[:6], 1.0, *rest[1:]]
    assert chunk.tokens == (5, 5)
    assert chunk.log_probabilities == pytest.approx(
        (expected_log_probabilities(first)[5], expected_log_probabilities(second)[5])
    )
    chunk = policy.act(observe(red=9, x=5.0, lift=0.5))
    assert chunk.tokens == (0, 0)  # red 9 beats the previous token, which is 5 now
    assert chunk.log_probabilities[0] == pytest.approx(
        expected_log_probabilities([9.0, 0.0, 1.0, 0.0, 0.0, 5.0, *rest])[0]
    )


def test_odometry_is_relative_to_the_first_observation_in_its_own_frame(tmp_path):
    policy = load_policy(write(tmp_path), ROLES)
    policy.reset(Instruction("go"))
    half_turn = math.pi
    policy.act(observe(x=5.0, yaw=half_turn))
    chunk = policy.act(observe(x=-25.0, yaw=half_turn))  # 30 m ahead of a base that looks back
    assert chunk.tokens[0] == 1
    policy.reset(Instruction("go"))
    assert policy.act(observe(x=-25.0)).tokens[0] == 5  # a new episode has a new origin


def test_sampling_follows_the_probabilities_and_repeats_with_its_seed(tmp_path):
    folder = write(tmp_path, selection="sample")

    def draw(seed, count=400):
        """Whether token 0 was the first of each chunk, and how probable it was."""
        policy = load_policy(folder, ROLES, seed=seed)
        policy.reset(Instruction("go"))
        previous, chosen, probable = 20, [], []
        for _ in range(count):
            tokens = policy.act(observe(red=8)).tokens
            row = [8.0, 0.0, 1.0, 0.0, 0.0, float(previous), *[0.0] * 14]
            chosen.append(tokens[0] == 0)
            probable.append(math.exp(expected_log_probabilities(row)[0]))
            previous = tokens[-1]
        return chosen, probable

    chosen, probable = draw(seed=1)
    assert np.mean(chosen) == pytest.approx(np.mean(probable), abs=0.1)
    assert 0.2 < np.mean(chosen) < 0.98
    assert chosen == draw(seed=1)[0]
    assert chosen != draw(seed=2)[0]


def test_the_description_carries_what_a_runner_needs(tmp_path):
    folder = write(tmp_path)
    description = load_policy(folder, ROLES).description
    assert (description.id, description.image_height, description.image_width) == ("tiny", 8, 8)
    assert description.sha256 == hashlib.sha256((tmp_path / "policy.onnx").read_bytes()).hexdigest()
    assert not description.privileged


def refusal(folder):
    with pytest.raises(PolicyError) as error:
        load_policy(folder, ROLES)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_that_is_cut_short_is_refused(tmp_path):
    folder = write(tmp_path)
    data = (tmp_path / "policy.onnx").read_bytes()
    (tmp_path / "policy.onnx").write_bytes(data[: len(data) // 2])
    assert "cut short" in refusal(folder)


def test_a_hash_of_another_file_is_refused(tmp_path):
    message = refusal(write(tmp_path, sha256="0" * 64))
    assert "policy.onnx" in message
    assert "sha256" in message


def test_a_broken_file_is_refused_though_its_hash_is_right(tmp_path):
    message = refusal(write(tmp_path, data=graph()[:200]))
    assert "not a usable ONNX model" in message


def test_a_missing_file_is_refused(tmp_path):
    folder = write(tmp_path)
    (tmp_path / "policy.onnx").unlink()
    assert "cannot be read" in refusal(folder)


@pytest.mark.parametrize("key", ["sha256", "proprioception", "inputs", "selection", "actions"])
def test_a_description_that_leaves_something_out_is_refused(tmp_path, key):
    message = refusal(write(tmp_path, drop=[key]))
    assert f"policy.yaml: {key}: Field required" in message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"colour": "blue"}, "colour"),
        ({"output": "action_logits"}, "no output 'action_logits'"),
        ({"representation": "words"}, "representation"),
        ({"representation": "continuous"}, "step_s: Field required"),
        ({"actions": ["go"]}, "actions: expected the action space"),
        ({"file": "../policy.onnx"}, "file"),
        ({"proprioception": [{"name": "joint.lift", "mean": 0.0}]}, "proprioception.0.std"),
        (
            {"proprioception": [{"name": "joint.elbow", "mean": 0.0, "std": 1.0}]},
            "proprioception.0.name",
        ),
        ({"proprioception": COLUMNS[:2]}, r"input 'state': expected tensor(float) of shape (1, 2)"),
        (
            {"image_width": 16},
            "input 'image_navigation': expected tensor(uint8) of shape (1, 8, 16",
        ),
    ],
)
def test_a_description_that_does_not_fit_schema_or_graph_is_refused(tmp_path, changes, expected):
    assert expected in refusal(write(tmp_path, **changes))


def test_an_unknown_input_name_is_refused_with_those_there_are(tmp_path):
    inputs = {
        "images": {"navigation": "picture"},
        "proprioception": "state",
        "previous_token": "previous_token",
    }
    message = refusal(write(tmp_path, inputs=inputs))
    assert "no input 'picture'" in message
    assert "image_navigation" in message


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (graph(action_count=12), "output 'logits': expected tensor(float) of shape (1, steps, 20)"),
        (graph(image_type=TensorProto.FLOAT), "input 'image_navigation': expected tensor(uint8)"),
        (graph(size=16), "input 'image_navigation'"),
    ],
)
def test_a_graph_of_another_shape_or_type_is_refused(tmp_path, data, expected):
    assert expected in refusal(write(tmp_path, data=data))


def test_a_graph_input_that_the_description_does_not_name_is_refused(tmp_path):
    model = onnx.load_from_string(graph())
    model.graph.input.append(helper.make_tensor_value_info("mood", TensorProto.FLOAT, [1]))
    assert "input 'mood' is not named" in refusal(write(tmp_path, data=model.SerializeToString()))


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        (
            observe(size=16),
            "camera 'navigation': the policy needs (8, 8, 3), got shape (16, 16, 3)",
        ),
        (
            Observation(0, {}, {}, observe().odometry, False),
            "camera 'navigation': the policy needs (8, 8, 3), got no image",
        ),
        (
            Observation(0, observe().images, {}, observe().odometry, False),
            "joint 'lift': the policy needs it",
        ),
    ],
)
def test_an_observation_that_does_not_fit_is_refused(tmp_path, observation, message):
    policy = load_policy(write(tmp_path), ROLES)
    policy.reset(Instruction("go"))
    with pytest.raises(PolicyError) as error:
        policy.act(observation)
    assert message in str(error.value)


def test_a_continuous_policy_gives_rows_of_physical_values(tmp_path):
    policy = load_policy(write_chunk(tmp_path), ROLES)
    assert (policy.description.representation, policy.description.step_s) == ("continuous", 0.5)
    policy.reset(Instruction("go"))
    chunk = policy.act(observe(red=5))
    assert chunk.names == ("base.x", "base.yaw")
    assert chunk.data == pytest.approx(
        np.column_stack([0.01 * np.arange(CHUNK_STEPS), np.zeros(CHUNK_STEPS)])
    )


def test_columns_of_joints_are_named_by_the_robots_joints_and_scaled(tmp_path):
    columns = [
        {"name": "joint.lift", "mean": 0.5, "std": 0.1},
        {"name": "base.yaw", "mean": 0.0, "std": 1.0},
    ]
    chunk = load_policy(write_chunk(tmp_path, columns=columns), ROLES).act(observe())
    assert chunk.names == (ROLES.lift, "base.yaw")
    assert chunk.data[:3, 0] == pytest.approx([0.5, 0.6, 0.7])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"columns": []}, "columns"),
        ({"columns": [{"name": "base.x", "mean": 0.0, "std": 1.0}]}, "of shape (1, steps, 1)"),
        ({"columns": [{"name": "base.x", "mean": 0.0, "std": 1.0}] * 2}, "columns: names must"),
        ({"columns": [{"name": "joint.elbow", "mean": 0.0, "std": 1.0}]}, "columns.0.name"),
        ({"step_s": 0.0}, "step_s"),
        ({"selection": "argmax"}, "selection"),
    ],
)
def test_a_continuous_description_that_does_not_fit_is_refused(tmp_path, changes, expected):
    assert expected in refusal(write_chunk(tmp_path, **changes))
