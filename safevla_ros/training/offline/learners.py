"""What an offline run needs of a policy, and the two kinds that offer it.

A policy takes part when it has a loss for each sample: token cross-entropy here, the error of a
chunk there; flow matching or diffusion would be a third class of this form. Batches have (B, T) in
front: B episodes side by side, T steps of each, with the arrays that data.write_inputs writes,
`first` (B, T) where an episode begins, and `budget` where the policy is told any.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from safevla_ros.policy.features import ActionColumn, BudgetTerm, Features
from safevla_ros.policy.vla import chunk_policy, modeling
from safevla_ros.policy.vla.chunk_policy import ChunkConfiguration, ChunkVla, export_chunk_policy
from safevla_ros.policy.vla.configuration import VlaConfiguration
from safevla_ros.policy.vla.export import export_policy
from safevla_ros.policy.vla.modeling import CompactVla, token_loss
from safevla_ros.training.offline.data import COMMAND, COMMANDS, IMITABLE, TOKEN
from safevla_ros.training.offline.settings import OfflineError

M = TypeVar("M", CompactVla, ChunkVla)
Batch = Mapping[str, Tensor]
Floats = NDArray[np.float64]

ADVANTAGE = "advantage"
"""Name of the input that says whether an action was better than expected."""


class Learner(ABC, Generic[M]):
    """A policy that is learnt. `model` is trained in place."""

    def __init__(self, model: M) -> None:
        self.model: M = model

    @property
    @abstractmethod
    def configuration(self) -> VlaConfiguration:
        """Of what the policy is given."""

    @property
    def features(self) -> Features:
        """What the policy is given."""
        return self.configuration.features

    @property
    def terms(self) -> tuple[BudgetTerm, ...]:
        """The budgets that it is told, in the order of its input."""
        return self.configuration.budget_terms

    def copied(self) -> Learner[M]:
        """The same policy, with weights of its own."""
        return type(self)(copy.deepcopy(self.model))

    @abstractmethod
    def told(self, terms: Sequence[BudgetTerm]) -> Learner[M]:
        """A copy that is told these budgets, and acts as before until it is trained."""

    def start(self, episodes: int) -> Tensor:
        """The state (B, ...) before an episode's first step."""
        return torch.zeros(episodes, 0)

    @abstractmethod
    def encode(self, batch: Batch, state: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, T, F) for critics, and the state after the last step."""

    @abstractmethod
    def losses(self, batch: Batch, state: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """(B, T) loss of each sample for a policy that acts at this temperature, 0 where it is no
        example; and the state after."""

    def losses_of_all(
        self, batch: Batch, state: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """(B, T, A) loss of each action there is, whatever was done; and the state after. Raises
        OfflineError where there is no end of them."""
        raise OfflineError("weigh 'own': expected a policy of tokens")

    @abstractmethod
    def act(self, batch: Batch, state: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """(B, T, A) what the policy would do: probabilities of tokens, or the action itself; and
        the state after."""

    @abstractmethod
    def codes(self, arrays: Mapping[str, NDArray]) -> NDArray[np.float32]:
        """(T, A) the actions of an episode as numbers; rows of zeros where there was none."""

    @abstractmethod
    def draw(self, acts: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """(N, A) an action for each of what `act` gave (N, A), in the form of `codes`."""

    @abstractmethod
    def average(
        self, acts: NDArray[np.float32], value: Callable[[NDArray[np.float32]], Floats]
    ) -> Floats:
        """(N,) mean of `value`, which takes actions (N, A) in the form of `codes`, over the actions of
        what `act` gave (N, A)."""

    @abstractmethod
    def export(self, folder: Path, name: str, temperature: float, notes: dict[str, Any]) -> None:
        """Write a policy folder that a robot loads."""

    def fold_advantage(self) -> Learner[M]:
        """A copy that always takes its action to be a good one, and has no such input."""
        terms = [term for term in self.terms if term.name != ADVANTAGE]
        at = [term.name for term in self.terms].index(ADVANTAGE)
        count = len(self.terms)
        kept = [i for i in range(2 * count) if i not in (at, count + at)]
        copied = self.told(terms)
        with torch.no_grad():
            weight = self.model.budget.weight
            copied.model.fuse.bias += weight[:, at] + weight[:, count + at]
            if terms:
                copied.model.budget.weight.copy_(weight[:, kept])
        return copied


class TokenLearner(Learner[CompactVla]):
    """A compact VLA: tokens, with a memory."""

    @property
    def configuration(self) -> VlaConfiguration:
        """See Learner."""
        return self.model.configuration

    def told(self, terms: Sequence[BudgetTerm]) -> TokenLearner:
        """See Learner."""
        return TokenLearner(
            modeling.extended(self.model, terms, self.model.configuration.cost_terms)
        )

    def start(self, episodes: int) -> Tensor:
        """See Learner."""
        return self.model.initial_state(episodes)

    def encode(self, batch: Batch, state: Tensor) -> tuple[Tensor, Tensor]:
        """See Learner."""
        return self.model.encode(batch, state)

    def losses(self, batch: Batch, state: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """See Learner. Of a policy's own actions, drawn at that temperature, it is least for the
        policy as it was; at another one, cloning them would make it bolder or more timid."""
        logits, state = self.model.act(batch, state)
        token = batch[TOKEN]
        mask = batch[IMITABLE] & (token >= 0)
        return token_loss(logits / temperature, token.clamp_min(0), mask), state

    def losses_of_all(
        self, batch: Batch, state: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """See Learner."""
        logits, state = self.model.act(batch, state)
        return -torch.log_softmax(logits.float() / temperature, dim=-1), state

    def act(self, batch: Batch, state: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """See Learner."""
        logits, state = self.model.act(batch, state)
        return torch.softmax(logits.float() / temperature, dim=-1), state

    def codes(self, arrays: Mapping[str, NDArray]) -> NDArray[np.float32]:
        """See Learner."""
        return one_hot(arrays[TOKEN], len(self.configuration.actions))

    def draw(self, acts: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """See Learner."""
        sums = np.cumsum(acts, axis=1)
        chosen = (rng.random((len(acts), 1)) * sums[:, -1:] > sums).sum(axis=1)
        return one_hot(chosen, acts.shape[1])

    def average(
        self, acts: NDArray[np.float32], value: Callable[[NDArray[np.float32]], Floats]
    ) -> Floats:
        """See Learner."""
        tokens = np.eye(acts.shape[1], dtype=np.float32)
        values = [value(np.broadcast_to(token, acts.shape)) for token in tokens]
        return (np.stack(values, axis=1) * acts).sum(axis=1)

    def export(self, folder: Path, name: str, temperature: float, notes: dict[str, Any]) -> None:
        """See Learner."""
        export_policy(folder, self.model, name, "sample", temperature, notes)


class ChunkLearner(Learner[ChunkVla]):
    """A policy of continuous chunks without a memory."""

    @property
    def configuration(self) -> VlaConfiguration:
        """See Learner."""
        return self.model.configuration.vla

    def told(self, terms: Sequence[BudgetTerm]) -> ChunkLearner:
        """See Learner."""
        return ChunkLearner(chunk_policy.extended(self.model, terms))

    def encode(self, batch: Batch, state: Tensor) -> tuple[Tensor, Tensor]:
        """See Learner."""
        steps = batch["proprioception"].shape[:2]
        return self.model.encode(_flat(batch)).unflatten(0, steps), state

    def losses(self, batch: Batch, state: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """See Learner. A chunk reaches as far as the window's steps of the same episode."""
        chunks, mask = self._chunks(batch)
        loss = self.model.policy_loss(_flat(batch), chunks.flatten(0, 1), mask.flatten(0, 1))
        return loss.unflatten(0, mask.shape[:2]) * batch[IMITABLE], state

    def act(self, batch: Batch, state: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """See Learner. The first row of the chunk, in standard deviations."""
        steps = batch["proprioception"].shape[:2]
        return self.model(_flat(batch))[:, 0].unflatten(0, steps), state

    def codes(self, arrays: Mapping[str, NDArray]) -> NDArray[np.float32]:
        """See Learner."""
        rows = torch.from_numpy(arrays[COMMAND][:, self._order()])
        return ((rows - self.model.mean) / self.model.std).numpy()

    def draw(self, acts: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """See Learner. It always does the same."""
        return acts

    def average(
        self, acts: NDArray[np.float32], value: Callable[[NDArray[np.float32]], Floats]
    ) -> Floats:
        """See Learner."""
        return value(acts)

    def export(self, folder: Path, name: str, temperature: float, notes: dict[str, Any]) -> None:
        """See Learner."""
        export_chunk_policy(folder, self.model, name)

    def _order(self) -> list[int]:
        return [COMMANDS.index(column.name) for column in self.model.configuration.columns]

    def _chunks(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Chunks (B, T, steps, columns) that begin at each step, and (B, T, steps) whether a row is
        known: of the same episode, within the window, and an example itself."""
        rows, good = batch[COMMAND][..., self._order()], batch[IMITABLE]
        count, ahead = rows.shape[1], self.model.configuration.steps
        number = batch["first"].long().cumsum(1)
        index = torch.arange(count)[:, None] + torch.arange(ahead)
        within = index < count
        index = index.clamp_max(count - 1)
        same = number[:, index] == number[:, :, None]
        return rows[:, index], within & same & good[:, index]


def one_hot(tokens: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """(T, count) of tokens (T,); a row of zeros for -1."""
    return (tokens[:, None] == np.arange(count)).astype(np.float32)


def column_statistics(commands: NDArray[np.float32]) -> tuple[ActionColumn, ...]:
    """Columns of a chunk with the mean and standard deviation of commands (N, len(COMMANDS)); those
    that never change are left out."""
    mean, std = commands.mean(axis=0), commands.std(axis=0)
    return tuple(
        ActionColumn(name=name, mean=float(mean[i]), std=float(std[i]))
        for i, name in enumerate(COMMANDS)
        if np.isfinite(mean[i]) and std[i] > 1e-6
    )


def new_chunk_policy(
    configuration: VlaConfiguration, commands: NDArray[np.float32], steps: int, step_s: float
) -> ChunkVla:
    """An untrained policy of chunks for these commands."""
    columns = column_statistics(commands)
    return ChunkVla(
        ChunkConfiguration(vla=configuration, columns=columns, steps=steps, step_s=step_s)
    )


def _flat(batch: Batch) -> dict[str, Tensor]:
    """The arrays with (B * T) in front."""
    return {key: value.flatten(0, 1) for key, value in batch.items()}
