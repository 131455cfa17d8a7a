"""A policy folder says and does what the trained network does, whichever runtime runs it."""

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from vla_examples import ROLES, BudgetTerm, batch, model, observation

from safevla_ros.policy.interface import Instruction, PolicyError
from safevla_ros.policy.load import load_policy
from safevla_ros.policy.vla.export import export_policy

FIND = Instruction("find the mug")


def exported(folder, vla, **changes):
    export_policy(folder, vla, "small", **changes)
    return str(folder)


@pytest.mark.parametrize("budget_terms", [(), (BudgetTerm(name="collision", scale=2.0),)])
def test_the_graph_gives_the_logits_of_the_network_over_an_episode(tmp_path, budget_terms):
    vla = model(budget_terms=budget_terms)
    exported(tmp_path, vla)
    session = onnxruntime.InferenceSession(tmp_path / "policy.onnx")
    inputs = batch(vla, 1, 20)
    expected = vla(inputs, vla.initial_state(1)).logits
    del inputs["first"]
    state = np.zeros((1, 32), np.float32)
    for t in range(20):
        feed = {key: value[:, t].numpy() for key, value in inputs.items()}
        logits, state = session.run(["logits", "next_state"], feed | {"state": state})
        np.testing.assert_allclose(logits[0, 0], expected[0, t].detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("selection", ["argmax", "sample"])
def test_both_runtimes_choose_the_same_actions(tmp_path, selection):
    folder = exported(tmp_path, model(), selection=selection)
    rng = np.random.default_rng(0)
    seen = [observation(model(), rng) for _ in range(15)]
    acted = {}
    for runtime in ("onnx", "torch"):
        policy = load_policy(folder, ROLES, seed=5, runtime=runtime)
        acted[runtime] = []
        for _ in range(2):  # the second episode must not remember the first
            policy.reset(FIND)
            acted[runtime] += [policy.act(item) for item in seen]
    for one, other in zip(acted["onnx"], acted["torch"], strict=True):
        assert one.tokens == other.tokens
        assert one.log_probabilities == pytest.approx(other.log_probabilities, abs=1e-5)
    if selection == "argmax":
        tokens = [chunk.tokens for chunk in acted["onnx"]]
        assert tokens[:15] == tokens[15:]


def test_the_log_probabilities_are_those_of_what_was_sampled_from(tmp_path):
    vla = model()
    seen = observation(vla, np.random.default_rng(0))
    folder = exported(tmp_path, vla, temperature=2.0)
    counts, log_p = np.zeros(20), np.full(20, np.nan)
    policy = load_policy(folder, ROLES, seed=1)
    for _ in range(800):
        policy.reset(FIND)
        chunk = policy.act(seen)
        counts[chunk.tokens[0]] += 1
        log_p[chunk.tokens[0]] = chunk.log_probabilities[0]
    drawn = counts > 0
    assert drawn.sum() > 3
    np.testing.assert_allclose(np.exp(log_p[drawn]), counts[drawn] / 800, atol=0.06)


def test_the_instruction_reaches_the_graph(tmp_path):
    vla = model()
    policy = load_policy(exported(tmp_path, vla, selection="argmax"), ROLES)
    seen = observation(vla, np.random.default_rng(0))
    chunks = []
    for text in ("find the mug", "find the apple"):
        policy.reset(Instruction(text))
        chunks.append(policy.act(seen))
    assert chunks[0].log_probabilities != pytest.approx(chunks[1].log_probabilities, abs=1e-6)


def test_exporting_leaves_the_training_as_it_was(tmp_path):
    vla = model().train()
    before = {name: value.clone() for name, value in vla.state_dict().items()}
    exported(tmp_path, vla)
    assert vla.training
    for name, value in vla.state_dict().items():
        torch.testing.assert_close(value, before[name])


def edit(folder, **changes):
    path = folder / "policy.yaml"
    description = yaml.safe_load(path.read_text()) | changes
    path.write_text(yaml.safe_dump({k: v for k, v in description.items() if v is not None}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocabulary": None}, "inputs.instruction and vocabulary: expected both or neither"),
        ({"state": None}, "input 'state' is not named"),
        ({"state": {"input": "state", "output": "next_state", "width": 31}}, "input 'state'"),
        ({"state": {"input": "state", "output": "memory", "width": 32}}, "no output 'memory'"),
        ({"instruction_length": 8}, "input 'instruction'"),
        ({"temperature": 0.0}, "temperature"),
        ({"budget_terms": [{"name": "drop", "scale": 1.0}]}, "inputs.budget and budget_terms"),
    ],
)
def test_a_description_that_the_graph_does_not_fit_is_refused(tmp_path, changes, message):
    folder = exported(tmp_path, model())
    edit(tmp_path, **changes)
    with pytest.raises(PolicyError) as error:
        load_policy(folder, ROLES)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_weights_that_are_no_numbers_are_refused_before_a_robot_moves(tmp_path, runtime):
    vla = model()
    with torch.no_grad():
        vla.actor[-1].bias[3] = torch.nan
    folder = exported(tmp_path, vla)
    with pytest.raises(PolicyError, match="finite"):
        load_policy(folder, ROLES, runtime=runtime)


def test_torch_refuses_a_description_of_other_inputs(tmp_path):
    folder = exported(tmp_path, model())
    edit(tmp_path, vocabulary=["apple", "find", "mug", "a"])
    with pytest.raises(PolicyError, match="describe other inputs"):
        load_policy(folder, ROLES, runtime="torch")
