"""Plays a policy in a world, rollout after rollout; episodes run on from one into the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from safevla_ros.training.online.agent import Agent
from safevla_ros.training.online.budgets import Constraints
from safevla_ros.training.online.windows import EpisodeWindows
from safevla_ros.training.online.world import History, World


@dataclass
class Batch:
    """T steps of N environments; (T, N, ...) unless said otherwise.

    `state` (N, width) before the first step. `rewards` (T, N, 1 + K): the reward, then the costs.
    `values`, `next_values` (T, N, 1 + K) in units of the critics' scales. `done`: the next step is
    of another episode. `row`: the constraints that the episode is under.
    """

    observation: dict[str, Tensor]
    first: Tensor
    state: Tensor
    action: Tensor
    log_prob: Tensor
    values: Tensor
    next_values: Tensor
    rewards: Tensor
    done: Tensor
    row: Tensor


@dataclass(frozen=True)
class Episode:
    """A finished episode; `costs` (K,) are its sums."""

    task: int
    steps: int
    reward: float
    costs: NDArray[np.float64]
    success: bool


class Collector:
    """N environments with the policy in them. `looks_beyond` (1 + K,) bool: which critics give a
    value to what would follow after a time limit (a sum without discount ends there)."""

    def __init__(
        self,
        world: World,
        agent: Agent,
        constraints: Constraints,
        windows: EpisodeWindows,
        environments: int,
        looks_beyond: Tensor,
        generator: Generator,
    ) -> None:
        self._world, self._agent, self._generator = world, agent, generator
        self._constraints, self._windows = constraints, windows
        self._looks_beyond = looks_beyond
        channels = 1 + len(constraints.terms)
        self._histories = [History() for _ in range(environments)]
        self._state = agent.initial_state(environments).cpu()
        self._sums = np.zeros((environments, channels))
        self._window = np.zeros(environments, np.int64)

    def begin(self) -> None:
        """Start the first episode of each environment."""
        self._enter()
        self._first = torch.ones(len(self._histories), dtype=torch.bool)
        for i, row in enumerate(self._constraints.row_of_task[self._task]):
            self._window[i] = self._windows.started(row)

    def _enter(self) -> NDArray[np.bool_]:
        begun = self._world.begin(self._histories)
        self._observation, self._task = _tensors(begun.observation), begun.task
        return begun.replayed

    def collect(self, steps: int) -> tuple[Batch, list[Episode]]:
        """Play on for so many steps; what was seen, and the episodes that ended."""
        begin_state = self._state
        finished: list[Episode] = []
        rows: list[dict[str, Tensor]] = []
        observations: list[dict[str, Tensor]] = []
        for _ in range(steps):
            acted = self._agent.act(self._observation, self._first, self._state, self._generator)
            observations.append(self._observation | acted.notes)
            actions = acted.action.numpy()
            result = self._world.step(actions)
            done = result.ended | result.truncated
            self._state = acted.state
            rewards = np.column_stack([result.reward, result.costs])
            rows.append(
                {
                    "first": self._first,
                    "action": acted.action,
                    "log_prob": acted.log_prob,
                    "values": acted.values,
                    "last_values": self._last_values(result.last, acted.values),
                    "rewards": torch.from_numpy(rewards).float(),
                    "done": torch.from_numpy(done),
                    "row": torch.from_numpy(self._constraints.row_of_task[self._task]),
                }
            )
            self._sums += rewards
            for history, action in zip(self._histories, actions, strict=True):
                history.actions.append(action)
            finished += [
                self._end(i, bool(result.success[i]), int(result.task[i]))
                for i in np.flatnonzero(done).tolist()
            ]
            self._observation, self._task = _tensors(result.observation), result.task
            self._first = torch.from_numpy(done)
        return self._batch(rows, observations, begin_state), finished

    def _last_values(self, last: Any, values: Tensor) -> Tensor:
        """(N, 1 + K) value after episodes that were truncated in this step; elsewhere 0."""
        after = torch.zeros_like(values)
        if last:
            index = list(last)
            seen = {
                key: torch.from_numpy(np.stack([last[i][key] for i in index]))
                for key in last[index[0]]
            }
            # The generator is not asked: these actions are nobody's.
            acted = self._agent.act(
                seen, torch.zeros(len(index), dtype=torch.bool), self._state[index], Generator()
            )
            after[index] = acted.values * self._looks_beyond
        return after

    def _end(self, i: int, success: bool, next_task: int) -> Episode:
        history, task = self._histories[i], int(self._task[i])
        row_of_task = self._constraints.row_of_task
        costs = self._sums[i, 1:].copy()
        self._windows.ended(row_of_task[task], int(self._window[i]), costs)
        self._window[i] = self._windows.started(row_of_task[next_task])
        episode = Episode(task, len(history.actions), float(self._sums[i, 0]), costs, success)
        self._histories[i] = History(history.episode + 1)
        self._sums[i] = 0.0
        return episode

    def _batch(
        self, rows: list[dict[str, Tensor]], observations: list[dict[str, Tensor]], state: Tensor
    ) -> Batch:
        columns = {key: torch.stack([row[key] for row in rows]) for key in rows[0]}
        following = self._agent.act(self._observation, self._first, self._state, Generator()).values
        next_values = torch.cat([columns["values"][1:], following[None]])
        last_values = columns.pop("last_values")
        return Batch(
            observation={
                key: torch.stack([row[key] for row in observations]) for key in observations[0]
            },
            state=state,
            next_values=torch.where(columns["done"].unsqueeze(-1), last_values, next_values),
            **columns,
        )

    def state(self) -> dict[str, Any]:
        """For a checkpoint; nested."""
        return {
            "episodes": [history.episode for history in self._histories],
            "actions": [
                np.stack(history.actions) if history.actions else None
                for history in self._histories
            ],
            "first": self._first,
            "state": self._state,
            "sums": self._sums,
            "window": self._window,
            "generator": self._generator.get_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave, and play the running episodes up to where they were."""
        self._histories = [
            History(episode, [] if actions is None else list(actions.numpy()))
            for episode, actions in zip(state["episodes"], state["actions"], strict=True)
        ]
        self._first, self._state = state["first"], state["state"]
        self._sums, self._window = state["sums"].numpy().copy(), state["window"].numpy().copy()
        self._generator.set_state(state["generator"])
        for i in np.flatnonzero(~self._enter()).tolist():
            self._histories[i].actions.clear()
            self._first[i], self._sums[i] = True, 0.0


def _tensors(observation: Any) -> dict[str, Tensor]:
    return {key: torch.from_numpy(array) for key, array in observation.items()}
