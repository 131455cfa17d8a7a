"""A CompactVla that acts in many episodes at once: one forward pass a step for all of them.

For roll-outs and evaluation. Episodes begin and end independently: `begin(i, instruction)` forgets
what episode i remembered, `act` takes one observation of each that runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from safevla_ros.policy.interface import Instruction, Observation
from safevla_ros.policy.selection import select
from safevla_ros.policy.vla.modeling import CompactVla
from safevla_ros.policy.vla.processor import NO_TOKEN, Processor
from safevla_ros.robot.profile import Roles


class TorchActor:
    """See the module's docstring. `episodes`: how many run side by side at most; `temperature` and
    `selection` as in policy.yaml. The model may be trained on between calls."""

    def __init__(
        self,
        model: CompactVla,
        roles: Roles,
        episodes: int,
        selection: Literal["argmax", "sample"] = "sample",
        temperature: float = 0.5,
        seed: int = 0,
    ) -> None:
        self.model = model
        self._processors = [Processor(model.configuration.features, roles) for _ in range(episodes)]
        self._previous = [NO_TOKEN] * episodes
        self._state = model.initial_state(episodes)
        self._selection = selection
        self._temperature = temperature
        self._rng = np.random.default_rng(seed)
        self.inputs: dict[int, dict[str, NDArray]] = {}
        """What the last `act` gave the network, by episode: the data set of a roll-out."""

    def begin(self, episode: int, instruction: Instruction) -> None:
        """Episode number `episode` starts anew."""
        self._processors[episode].reset(instruction)
        self._previous[episode] = NO_TOKEN
        self._state[episode] = 0.0

    def act(self, observations: Mapping[int, Observation]) -> dict[int, tuple[int, float]]:
        """Token and log-probability by episode number. Raises PolicyError on unusable input."""
        if not observations:
            return {}
        episodes = list(observations)
        self.inputs = {i: self._processors[i](observations[i], self._previous[i]) for i in episodes}
        rows, device = list(self.inputs.values()), self._state.device
        batch = {
            key: torch.from_numpy(np.stack([row[key] for row in rows])).unsqueeze(1).to(device)
            for key in rows[0]
        }
        with torch.inference_mode():
            logits, state = self.model.act(batch, self._state[episodes])
            self._state[episodes] = state
        tokens, log_p = select(
            logits[:, 0].double().cpu().numpy(), self._selection, self._temperature, self._rng
        )
        for i, token in zip(episodes, tokens.tolist(), strict=True):
            self._previous[i] = token
        return dict(zip(episodes, zip(tokens.tolist(), log_p.tolist(), strict=True), strict=True))

    def acted(self, episode: int, token: int) -> None:
        """Another action was taken than the one that `act` chose (an expert's, in a roll-out)."""
        self._previous[episode] = token
