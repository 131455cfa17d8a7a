"""The compact VLA's network: it remembers within an episode and not across, whichever way the steps
are cut, its inputs all matter, and its critics leave the policy alone."""

import pytest
import torch
from vla_examples import BudgetTerm, batch, model, part

from safevla_ros.policy.vla.modeling import extended


def test_an_episode_in_pieces_gives_what_it_gives_whole():
    vla = model()
    inputs = batch(vla, episodes=3, steps=7)
    whole = vla(inputs, vla.initial_state(3))
    begin = vla(part(inputs, 0, 4), vla.initial_state(3))
    rest = vla(part(inputs, 4, 7), begin.state)
    pieces = torch.cat([begin.logits, rest.logits], dim=1)
    torch.testing.assert_close(pieces, whole.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(rest.state, whole.state, atol=1e-5, rtol=1e-5)


def test_what_was_seen_before_matters_and_a_new_episode_forgets_it():
    vla = model()
    inputs = batch(vla, episodes=1, steps=6)
    other = {key: value.clone() for key, value in inputs.items()}
    other["image_navigation"][:, :3] = 0

    def last_logits(given):
        return vla(given, vla.initial_state(1)).logits[:, -1]

    assert not torch.allclose(last_logits(inputs), last_logits(other), atol=1e-4)
    for given in (inputs, other):
        given["first"][:, 4] = True
    torch.testing.assert_close(last_logits(inputs), last_logits(other))


@pytest.mark.parametrize(
    "key",
    [
        "image_navigation",
        "image_manipulation",
        "proprioception",
        "previous_token",
        "instruction",
    ],
)
def test_every_input_matters(key):
    vla = model()
    inputs = batch(vla, 2, 1)
    before = vla(inputs, vla.initial_state(2)).logits
    inputs[key] = batch(vla, 2, 1, seed=1)[key]
    assert not torch.allclose(vla(inputs, vla.initial_state(2)).logits, before, atol=1e-5)


def test_the_outputs_are_shaped_as_documented():
    vla = model()
    out = vla(batch(vla, 2, 5), vla.initial_state(2))
    assert out.logits.shape == (2, 5, 20)
    assert {name: tuple(value.shape) for name, value in out.auxiliary.items()} == {
        "visible": (2, 5),
        "place": (2, 5, 3),
        "free_ahead": (2, 5, 7),
    }
    assert (out.reward_value.shape, out.cost_values.shape) == ((2, 5), (2, 5, 2))
    assert out.state.shape == (2, 32)
    assert {name: tuple(cells.shape) for name, cells in out.cells.items()} == {
        "navigation": (2, 5, 32, 6, 6),
        "manipulation": (2, 5, 32, 6, 6),
    }


def test_the_loss_is_one_number_a_step_and_nothing_where_masked():
    vla = model()
    inputs, state = batch(vla, 2, 3), vla.initial_state(2)
    actions = torch.tensor([[0, 5, 19], [3, 3, 3]])
    mask = torch.tensor([[True, True, False], [True, True, True]])
    loss = vla.policy_loss(inputs, state, actions, mask)
    log_p = torch.log_softmax(vla(inputs, state).logits, dim=-1)
    expected = -log_p.gather(-1, actions.unsqueeze(-1)).squeeze(-1) * mask
    torch.testing.assert_close(loss, expected)
    assert loss[0, 2] == 0.0


def test_critics_shape_the_trunk_only_when_asked():
    vla = model()
    inputs, state = batch(vla, 2, 3), vla.initial_state(2)
    for trains in (False, True):
        vla.zero_grad()
        out = vla(inputs, state, train_critic_trunk=trains)
        (out.reward_value.sum() + out.cost_values.sum()).backward()
        assert vla.reward_critic[0].weight.grad.abs().sum() > 0
        reached = vla.fuse.weight.grad is not None and bool(vla.fuse.weight.grad.any())
        assert reached is trains


def test_a_budget_input_changes_nothing_until_it_is_trained():
    vla = model(budget_terms=(BudgetTerm(name="collision", scale=2.0),))
    inputs = batch(vla, 2, 2)
    before = vla(inputs, vla.initial_state(2)).logits
    inputs["budget"] = inputs["budget"] + 1.0
    torch.testing.assert_close(vla(inputs, vla.initial_state(2)).logits, before)
    vla.policy_loss(
        inputs, vla.initial_state(2), torch.zeros(2, 2, dtype=torch.long), torch.ones(2, 2)
    ).sum().backward()
    assert vla.budget.weight.grad.abs().sum() > 0


def test_a_trained_model_that_is_given_budgets_and_other_critics_acts_as_before():
    vla = model()
    told = extended(vla, [BudgetTerm(name="drop", scale=1.0)], ["collision", "drop", "corner"])
    inputs, state = batch(told, 2, 3), vla.initial_state(2)
    before, after = vla(inputs, state), told(inputs, state)
    torch.testing.assert_close(after.logits, before.logits)
    torch.testing.assert_close(after.reward_value, before.reward_value)
    assert after.cost_values.shape == (2, 3, 3)
    same = extended(vla, [], vla.configuration.cost_terms)
    torch.testing.assert_close(same(inputs, state).cost_values, before.cost_values)


def test_a_few_steps_of_cloning_learn_to_obey_the_instruction():
    vla = model().train()
    inputs, state = batch(vla, 8, 4), vla.initial_state(8)
    inputs["instruction"][:4], inputs["instruction"][4:] = 2, 4
    actions = torch.full((8, 4), 3)
    actions[4:] = 9
    optimiser = torch.optim.Adam(vla.parameters(), 1e-2)
    for _ in range(40):
        optimiser.zero_grad()
        vla.policy_loss(inputs, state, actions, torch.ones(8, 4)).mean().backward()
        optimiser.step()
    fresh = batch(vla, 8, 4, seed=7)
    fresh["instruction"] = inputs["instruction"]
    chosen = vla(fresh, state).logits.argmax(-1)
    assert (chosen == actions).float().mean() > 0.9


def test_what_a_camera_sees_does_not_depend_on_what_is_asked_for():
    vla = model()
    inputs = batch(vla, 2, 1)
    before = vla(inputs, vla.initial_state(2))
    inputs["instruction"] = batch(vla, 2, 1, seed=1)["instruction"]
    after = vla(inputs, vla.initial_state(2))
    for camera, cells in before.cells.items():
        torch.testing.assert_close(after.cells[camera], cells)


def test_words_and_pictures_learn_to_mean_the_same():
    """A red and a blue square at random places; found by name in pictures never seen."""
    vla = model().train()
    names = torch.tensor([[2, 0, 0], [4, 0, 0]])

    def pictures(seed):
        generator = torch.Generator().manual_seed(seed)
        inputs = batch(vla, 16, 1)
        image = torch.full_like(inputs["image_navigation"], 127)
        there = torch.zeros(16, 1, 2, 6, 6)
        for episode in range(16):
            cells = torch.randperm(36, generator=generator)[:2]
            for name, (row, column) in enumerate(zip(cells // 6, cells % 6, strict=True)):
                square = image[episode, 0, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
                square[..., 2 * name] = 250
                there[episode, 0, name, row, column] = 1.0
        inputs["image_navigation"] = image
        return inputs, there

    def logits(inputs):
        cells = vla(inputs, vla.initial_state(16)).cells["navigation"]
        return vla.grounding(cells, vla.queries(names))

    optimiser = torch.optim.Adam(vla.parameters(), 5e-3)
    for step in range(80):
        inputs, there = pictures(step)
        optimiser.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(logits(inputs), there).backward()
        optimiser.step()
    inputs, there = pictures(1000)
    found = logits(inputs).flatten(-2).argmax(-1)
    assert (found == there.flatten(-2).argmax(-1)).float().mean() > 0.9
