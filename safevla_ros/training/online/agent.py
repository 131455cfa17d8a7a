"""What learns: an actor with a critic of the reward and one of each cost."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

from torch import Generator, Tensor, nn

from safevla_ros.training.online.losses import Evaluation


class Acted(NamedTuple):
    """Actions of N environments, their log-probabilities (N,), values (N, 1 + K) in units of the
    critics' scales, the next state (N, width), and what `evaluate` will want to know (N, ...)."""

    action: Tensor
    log_prob: Tensor
    values: Tensor
    state: Tensor
    notes: dict[str, Tensor]


class Agent(nn.Module):
    """An actor-critic. `recurrent`: sequences have to be evaluated as they were played."""

    recurrent: bool

    @abstractmethod
    def initial_state(self, environments: int) -> Tensor:
        """(N, width) what is remembered before an episode."""

    @abstractmethod
    def act(
        self, observation: Mapping[str, Tensor], first: Tensor, state: Tensor, generator: Generator
    ) -> Acted:
        """Draw actions; `first` (N,) bool: an episode begins. Everything on the CPU."""

    @abstractmethod
    def evaluate(
        self, observation: Mapping[str, Tensor], first: Tensor, state: Tensor, action: Tensor
    ) -> Evaluation:
        """What is thought now of B recorded sequences of T steps. `observation` (B, T, ...) holds
        the notes of `act` too, `first` (B, T); `state` (B, width) is that before the first step."""

    @abstractmethod
    def is_critic(self, parameter: str) -> bool:
        """Whether the parameter of that name belongs to a critic alone."""

    def observed(self, observation: Mapping[str, Tensor]) -> None:
        """Take note of observations (T, N, ...) that were learnt from, to scale later ones by."""
