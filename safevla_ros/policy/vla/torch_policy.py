"""Runs a policy folder with torch: the alternative to ONNX Runtime, with the same actions."""

from __future__ import annotations

from pathlib import Path

import torch

from safevla_ros.policy.description import TokenPolicyFile, read_description
from safevla_ros.policy.interface import (
    ActionChunk,
    Instruction,
    Observation,
    PolicyDescription,
    PolicyError,
)
from safevla_ros.policy.vla.checkpoint import load_checkpoint, read_configuration
from safevla_ros.policy.vla.modeling import CompactVla
from safevla_ros.policy.vla.processor import input_shapes
from safevla_ros.policy.vla.torch_actor import TorchActor
from safevla_ros.robot.profile import Roles


class TorchPolicy:
    """A compact VLA from a folder that `export_policy` wrote. Not thread-safe.

    On a GPU where torch finds one, else on the CPU. One step is run on an empty observation, which
    warms torch up and shows weights that are no numbers. Raises PolicyError with one sentence.
    """

    def __init__(self, folder: Path, roles: Roles, seed: int = 0) -> None:
        file = read_description(folder / "policy.yaml")
        if not isinstance(file, TokenPolicyFile):
            raise PolicyError(f"{folder}: representation: torch runs token policies only")
        configuration, sha256 = read_configuration(folder)
        if configuration.features != file.features():
            raise PolicyError(f"{folder}: policy.yaml and vla.json describe other inputs")
        model = load_checkpoint(folder).to("cuda" if torch.cuda.is_available() else "cpu")
        if not _first_logits(model).isfinite().all():
            raise PolicyError(f"{folder}: expected weights that give finite logits")
        self._actor = TorchActor(model, roles, 1, file.selection, file.temperature, seed)
        self.description = PolicyDescription(
            id=file.id,
            representation=file.representation,
            image_height=file.image_height,
            image_width=file.image_width,
            sha256=sha256,
        )

    def reset(self, instruction: Instruction) -> None:
        """Forget the last episode."""
        self._actor.begin(0, instruction)

    def act(self, observation: Observation) -> ActionChunk:
        """The next token with its log-probability. Raises PolicyError on unusable input."""
        token, log_probability = self._actor.act({0: observation})[0]
        return ActionChunk("token", tokens=(token,), log_probabilities=(log_probability,))


def _first_logits(model: CompactVla) -> torch.Tensor:
    """(1, 1, actions) for an empty observation."""
    state = model.initial_state(1)
    inputs = {
        key: torch.zeros(1, 1, *shape, dtype=getattr(torch, kind.__name__), device=state.device)
        for key, (kind, shape) in input_shapes(model.configuration.features).items()
    }
    with torch.inference_mode():
        return model.act(inputs, state)[0]
