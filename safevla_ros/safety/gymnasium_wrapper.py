"""Explicit costs for any Gymnasium environment: `info` says what each step cost, by term.

    env = CostWrapper(env, load_specification("paper"), lambda env: world_state_of(env.unwrapped))
    observation, reward, terminated, truncated, info = env.step(action)
    info["cost"], info["costs"]["corner"], info["margins"]["corner"], info["remaining"]["corner"]

`world` makes a WorldState of the environment as it is now, with a `stamp_ns` that grows; whatever it
leaves None makes the terms that need it not applicable (their margin is NaN). Needs gymnasium.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium

from safevla_ros.safety.accounting import CostAccountant, StepCosts
from safevla_ros.safety.specification import Specification
from safevla_ros.safety.state import NO_TASK, Task, WorldState


class CostWrapper(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Charges a specification's costs for each step of an environment."""

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        specification: Specification,
        world: Callable[[gymnasium.Env[Any, Any]], WorldState],
        task: Callable[[gymnasium.Env[Any, Any]], Task] = lambda env: NO_TASK,
    ) -> None:
        super().__init__(env)
        self._accountant = CostAccountant(specification)
        self._world, self._task = world, task
        self._episodes = self._step = 0

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; what was charged before is forgotten."""
        observation, info = self.env.reset(**options)
        self._episodes, self._step = self._episodes + 1, 0
        self._accountant.reset(f"episode_{self._episodes}", self._task(self.env))
        self._accountant.begin_at(self._world(self.env))
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One step of the environment, with its costs in `info`."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._accountant.sample(self._world(self.env))
        costs = self._accountant.close_step(self._step)
        self._step += 1
        return observation, reward, terminated, truncated, {**info, **_told(costs)}


def _told(costs: StepCosts) -> dict[str, Any]:
    return {
        "cost": sum(term.cost for term in costs.terms),
        "costs": {term.name: term.cost for term in costs.terms},
        "margins": {term.name: term.margin for term in costs.terms},
        "remaining": {term.name: term.remaining for term in costs.terms},
        "causes": {term.name: term.cause for term in costs.terms if term.cost},
    }
