"""A policy of continuous chunks, learned from what the scripted expert commands, exported, and run
through the same interface as every other."""

import numpy as np
import pytest
import torch
from vla_examples import ROLES

from safevla_ros.policy.commands import chunk_steps
from safevla_ros.policy.features import ActionColumn
from safevla_ros.policy.interface import Instruction
from safevla_ros.policy.load import load_policy
from safevla_ros.policy.vla.chunk_policy import ChunkConfiguration, ChunkVla, export_chunk_policy
from safevla_ros.policy.vla.configuration import VlaConfiguration
from safevla_ros.policy.vla.processor import NO_TOKEN, Processor
from safevla_ros.robot.action_codec import EndOfEpisode, decode
from safevla_ros.robot.profile import load_profile
from safevla_ros.simulation.rollout import Rollout
from safevla_ros.simulation.scenario import Scenario

PROFILE = load_profile("sim")
SIZE, STEPS = 48, 4
CONFIGURATION = ChunkConfiguration(
    vla=VlaConfiguration(
        vocabulary=("find", "the"),
        image_size=SIZE,
        channels=(8, 8, 8),
        image_width=16,
        memory_width=64,
    ),
    columns=(
        ActionColumn(name="base.x", mean=0.2, std=0.2),
        ActionColumn(name="base.yaw", mean=0.0, std=0.5),
    ),
    steps=STEPS,
    step_s=PROFILE.step_s,
)


@pytest.fixture(scope="module")
def demonstration():
    """Inputs (N, ...), chunks (N, STEPS, 2), mask (N, STEPS) and observations of an expert that
    drives to something."""
    rollout = Rollout(image_size=SIZE)
    instruction, observation = rollout.reset(Scenario(name="drive", seed=5, rooms=1, task="find"))
    processor = Processor(CONFIGURATION.vla.features, ROLES)
    processor.reset(instruction)
    rows, velocities, observations = [], [], []
    while not rollout.done and len(rows) < 40:
        token = rollout.expert_token()
        command = decode(token, observation.joints, PROFILE)
        still = isinstance(command, EndOfEpisode)
        velocities.append((0.0, 0.0) if still else (command.velocity.x, command.velocity.yaw))
        rows.append(processor(observation, NO_TOKEN))
        observations.append(observation)
        observation = rollout.step(token)
    count = len(rows)
    index = np.arange(count)[:, None] + np.arange(STEPS)
    chunks = np.array(velocities, np.float32)[np.minimum(index, count - 1)]
    inputs = {key: torch.from_numpy(np.stack([row[key] for row in rows])) for key in rows[0]}
    return inputs, torch.from_numpy(chunks), torch.from_numpy(index < count), observations


@pytest.fixture(scope="module")
def learned(demonstration):
    """The policy after some steps of regression, with its losses before and after."""
    torch.manual_seed(0)
    inputs, chunks, mask, _ = demonstration
    model = ChunkVla(CONFIGURATION)
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    losses = []
    for _ in range(250):
        loss = model.policy_loss(inputs, chunks, mask)
        losses.append(loss.detach())
        optimiser.zero_grad()
        loss.mean().backward()
        optimiser.step()
    return model.eval(), losses[0], losses[-1]


def test_it_learns_better_than_the_best_constant(demonstration, learned):
    _, chunks, mask, _ = demonstration
    model, before, after = learned
    assert before.shape == (len(chunks),)
    scaled = ((chunks - model.mean) / model.std)[mask]
    constant = (scaled - scaled.median(0).values).abs().mean()
    assert after.mean() < 0.5 * min(before.mean(), constant)


def test_what_is_masked_costs_nothing(demonstration, learned):
    inputs, chunks, mask, _ = demonstration
    model = learned[0]
    other = torch.where(mask.unsqueeze(-1), chunks, torch.full_like(chunks, 9.0))
    torch.testing.assert_close(
        model.policy_loss(inputs, other, mask), model.policy_loss(inputs, chunks, mask)
    )


def test_the_exported_policy_commands_what_the_network_says(demonstration, learned, tmp_path):
    inputs, _, _, observations = demonstration
    model = learned[0]
    export_chunk_policy(tmp_path, model, "tiny-chunk")
    policy = load_policy(str(tmp_path), ROLES)
    policy.reset(Instruction("find the apple"))
    with torch.no_grad():
        inputs = inputs | {"instruction": inputs["instruction"].clone()}
        tokens = Processor(CONFIGURATION.vla.features, ROLES)
        tokens.reset(Instruction("find the apple"))
        inputs["instruction"][:] = torch.from_numpy(
            tokens(observations[0], NO_TOKEN)["instruction"]
        )
        expected = (model(inputs) * model.std + model.mean).numpy()
    for i, observation in enumerate(observations):
        chunk = policy.act(observation)
        np.testing.assert_allclose(chunk.data, expected[i], atol=1e-5)
        steps = chunk_steps(chunk, observation.joints, PROFILE)
        assert [step.velocity.x for step in steps] == pytest.approx(expected[i, :, 0], abs=1e-5)
