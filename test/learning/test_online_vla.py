"""The compact VLA as an actor-critic: what it thinks of recorded steps is what it thought then."""

import copy

import pytest
import torch
import vla_examples
from torch.nn import functional

from safevla_ros.policy.vla.modeling import PERCEIVED
from safevla_ros.training.online.vla import REFERENCE, VlaAgent

STEPS = 5


@pytest.mark.parametrize("frozen", [False, True])
def test_recorded_steps_are_evaluated_as_they_were_played(frozen: bool):
    model = vla_examples.model()
    reference = copy.deepcopy(model)
    torch.nn.init.normal_(reference.actor[-1].weight, std=0.1)
    agent = VlaAgent(model, temperature=0.7, reference=reference, freeze_perception=frozen)
    inputs = vla_examples.batch(model, 2, STEPS)
    first = inputs.pop("first")
    first[1, 3] = True  # an episode begins on the way
    state = start = torch.randn(2, agent.initial_state(2).shape[1])
    generator = torch.Generator().manual_seed(0)
    played = []
    for step in range(STEPS):
        seen = {key: array[:, step] for key, array in inputs.items()}
        played.append(agent.act(seen, first[:, step], state, generator))
        state = played[-1].state
    tokens = torch.stack([acted.action for acted in played], dim=1)
    known = torch.stack([acted.notes[REFERENCE] for acted in played], dim=1)
    recorded = inputs | {REFERENCE: known, "advantage": first}
    if frozen:
        recorded[PERCEIVED] = torch.stack([acted.notes[PERCEIVED] for acted in played], dim=1)
    now = agent.evaluate(recorded, first, start, tokens)
    torch.testing.assert_close(
        now.log_prob, torch.stack([acted.log_prob for acted in played], dim=1)
    )
    torch.testing.assert_close(now.values, torch.stack([acted.values for acted in played], dim=1))
    assert now.values.shape == (2, STEPS, 3)
    logits = model(inputs | {"first": first}, start[:, :32]).logits / 0.7
    expected = functional.kl_div(known, logits.log_softmax(-1), log_target=True, reduction="none")
    torch.testing.assert_close(now.reference_kl, expected.sum(-1))
    assert (now.reference_kl > 0.0).all()


def test_critics_share_no_weights_with_the_policy():
    agent = VlaAgent(vla_examples.model())
    inputs = vla_examples.batch(agent.model, 1, 2)
    first = inputs.pop("first")
    tokens = torch.zeros(1, 2, dtype=torch.int64)
    now = agent.evaluate(inputs, first, agent.initial_state(1), tokens)
    now.values.sum().backward(retain_graph=True)
    reached = {name for name, w in agent.named_parameters() if w.grad is not None}
    assert reached == {name for name, _ in agent.named_parameters() if agent.is_critic(name)}
    (now.log_prob.sum() + now.entropy.sum()).backward()
    reached = {name for name, w in agent.named_parameters() if w.grad is not None}
    assert {"model.actor.2.weight", "model.cameras.navigation.out.weight"} <= reached


def test_frozen_perception_is_not_learnt():
    model = vla_examples.model()
    agent = VlaAgent(model, freeze_perception=True)
    learnt = {name for name, w in agent.named_parameters() if w.requires_grad}
    assert "model.actor.2.weight" in learnt
    assert not [name for name in learnt if name.startswith(("model.cameras", "model.query"))]
