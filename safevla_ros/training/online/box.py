"""Control tasks of Gymnasium whose `info` says what a step cost: the world of the public benchmarks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from safevla_ros.training.online.gaussian import OBSERVATION
from safevla_ros.training.online.world import Observation, Transition

COST = "cost"


class BoxEnvironment:
    """An environment of Gymnasium's interface, with observations and actions in a box.

    Actions in [-1, 1] are stretched to the box and clipped to it. Each episode is reset with a seed
    of its own. `cost` names the entry of `info`; where it is missing the step cost nothing.
    """

    def __init__(self, env: Any, index: int, seed: int = 0, cost: str = COST) -> None:
        self._env, self._index, self._seed, self._cost = env, index, seed, cost
        low, high = env.action_space.low, env.action_space.high
        self._middle, self._half = (high + low) / 2.0, (high - low) / 2.0

    def reset(self, episode: int) -> tuple[Observation, int]:
        """See Environment."""
        drawn = np.random.default_rng([self._seed, self._index, episode]).integers(2**31)
        observation, _ = self._env.reset(seed=int(drawn))
        return _named(observation), 0

    def step(self, action: NDArray) -> Transition:
        """See Environment."""
        stretched = self._middle + self._half * np.clip(action, -1.0, 1.0)
        observation, reward, ended, truncated, info = self._env.step(
            stretched.astype(self._middle.dtype)
        )
        cost = np.array([float(info.get(self._cost, 0.0))])
        return Transition(
            _named(observation), float(reward), cost, bool(ended), bool(truncated), False
        )


def _named(observation: NDArray) -> Observation:
    return {OBSERVATION: np.asarray(observation, np.float64)}
