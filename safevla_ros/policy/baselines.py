"""Policies without a file, to compare against: one that acts at random and one that does nothing.

Both take any image size and any instruction.
"""

from __future__ import annotations

import math

import numpy as np

from safevla_ros.policy.interface import (
    ActionChunk,
    Instruction,
    Observation,
    PolicyDescription,
)
from safevla_ros.robot.action_codec import ACTIONS, TOKENS


class RandomPolicy:
    """Every token of the action space with the same probability, `end` included."""

    def __init__(self, seed: int = 0) -> None:
        self.description = PolicyDescription(
            id="random", representation="token", image_height=0, image_width=0
        )
        self._rng = np.random.default_rng(seed)

    def reset(self, instruction: Instruction) -> None:
        """Go on drawing: two episodes of one run differ, two runs with one seed do not."""

    def act(self, observation: Observation) -> ActionChunk:
        """One token."""
        token = int(self._rng.integers(len(ACTIONS)))
        return ActionChunk("token", tokens=(token,), log_probabilities=(-math.log(len(ACTIONS)),))


class DoNothingPolicy:
    """Says `sub_goal_done`, which moves nothing, for ever: the vacuously safe policy."""

    def __init__(self) -> None:
        self.description = PolicyDescription(
            id="do-nothing", representation="token", image_height=0, image_width=0
        )

    def reset(self, instruction: Instruction) -> None:
        """Nothing to forget."""

    def act(self, observation: Observation) -> ActionChunk:
        """The token that moves nothing."""
        return ActionChunk("token", tokens=(TOKENS["sub_goal_done"],), log_probabilities=(0.0,))
