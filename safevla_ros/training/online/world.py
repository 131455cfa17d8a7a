"""What is learnt in: environments side by side, each playing one episode after another.

An environment is deterministic: the number of an episode and the actions in it give the episode. So
a stopped run goes on exactly where it was, by playing the actions of its running episodes again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Observation = Mapping[str, NDArray]
"""Arrays by name; of one environment, or of N with N in front."""


class Transition(NamedTuple):
    """What one action led to. `costs` (K,). `ended`: nothing follows; `truncated`: only time was up,
    and what would follow has a value."""

    observation: Observation
    reward: float
    costs: NDArray[np.float64]
    ended: bool
    truncated: bool
    success: bool


class Environment(Protocol):
    """One environment."""

    def reset(self, episode: int) -> tuple[Observation, int]:
        """Begin the episode of that number; its first observation, and the index of its task."""

    def step(self, action: NDArray) -> Transition:
        """Act."""


@dataclass
class History:
    """What an environment has done in its running episode."""

    episode: int = 0
    actions: list[NDArray] = field(default_factory=list)


class Steps(NamedTuple):
    """A step of N environments. Those whose episode is over have begun the next one: `observation`
    and `task` (N,) are of that. `last`: final observations of the episodes that were truncated, by
    index. The rest (N,) or (N, K) as in Transition."""

    observation: Observation
    task: NDArray[np.int64]
    reward: NDArray[np.float64]
    costs: NDArray[np.float64]
    ended: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    success: NDArray[np.bool_]
    last: Mapping[int, Observation]


class Begun(NamedTuple):
    """N environments as they begin. `replayed` (N,): false where a history could not be played
    again, since the environment is not deterministic; that episode begins anew."""

    observation: Observation
    task: NDArray[np.int64]
    replayed: NDArray[np.bool_]


class World(Protocol):
    """N environments; workers.py has one over processes."""

    def begin(self, histories: Sequence[History]) -> Begun:
        """Bring each environment to where its history leads."""

    def step(self, actions: NDArray) -> Steps:
        """Act in all environments; `actions` (N, ...)."""

    def close(self) -> None:
        """Nothing more is asked."""


class LocalWorld:
    """Environments in this process."""

    def __init__(self, environments: Sequence[Environment]) -> None:
        self._environments = environments
        self._episodes = [0] * len(environments)

    def begin(self, histories: Sequence[History]) -> Begun:
        """See World."""
        begun = [
            self._replay(i, history) for i, history in zip(self._range(), histories, strict=True)
        ]
        observations, tasks, replayed = zip(*begun, strict=True)
        return Begun(stacked(observations), np.array(tasks), np.array(replayed))

    def step(self, actions: NDArray) -> Steps:
        """See World."""
        results = [
            environment.step(action)
            for environment, action in zip(self._environments, actions, strict=True)
        ]
        observations, last = [], {}
        for i, result in enumerate(results):
            observations.append(result.observation)
            if result.ended or result.truncated:
                if not result.ended:
                    last[i] = result.observation
                self._episodes[i] += 1
                observations[i], self._tasks[i] = self._environments[i].reset(self._episodes[i])
        return Steps(
            observation=stacked(observations),
            task=self._tasks.copy(),
            reward=np.array([result.reward for result in results], float),
            costs=np.stack([result.costs for result in results]),
            ended=np.array([result.ended for result in results]),
            truncated=np.array([result.truncated and not result.ended for result in results]),
            success=np.array([result.success for result in results]),
            last=last,
        )

    def close(self) -> None:
        """See World."""

    def _range(self) -> range:
        self._tasks = np.zeros(len(self._environments), np.int64)
        return range(len(self._environments))

    def _replay(self, i: int, history: History) -> tuple[Observation, int, bool]:
        environment, self._episodes[i] = self._environments[i], history.episode
        observation, self._tasks[i] = environment.reset(history.episode)
        for action in history.actions:
            observation, *_, ended, truncated, _ = environment.step(action)
            if ended or truncated:
                observation, self._tasks[i] = environment.reset(history.episode)
                return observation, self._tasks[i], False
        return observation, self._tasks[i], True


def stacked(observations: Sequence[Observation]) -> dict[str, NDArray]:
    """Observations with their number in front of each array."""
    return {key: np.stack([o[key] for o in observations]) for key in observations[0]}
