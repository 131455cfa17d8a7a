"""Costs per step and per episode: the same bookkeeping in monitor, evaluation and bag scoring."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from safevla_ros.safety.specification import Specification
from safevla_ros.safety.world import Task, WorldState


class Status(Enum):
    """Whether a term could be judged. Names are the constants of TermCost."""

    OK = auto()
    NOT_APPLICABLE = auto()


@dataclass(frozen=True, slots=True)
class TermCost:
    """One term over one closed step; fields as in the TermCost message. `remaining` NaN: no budget."""

    name: str
    status: Status
    cost: float
    margin: float
    cumulative: float
    remaining: float
    cause: str


@dataclass(frozen=True, slots=True)
class Source:
    """A message that a sample of the step was computed from (see the CostVector message)."""

    sample: int
    signal: str
    stamp_ns: int


@dataclass(frozen=True, slots=True)
class StepCosts:
    """All terms over one closed step. `stamp_ns`: its end; `frame`: the world frame."""

    episode_id: str
    step: int
    stamp_ns: int
    frame: str
    terms: tuple[TermCost, ...]
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class LiveMargin:
    """One term now. `margin` NaN: not applicable, `cause` says why."""

    name: str
    applicable: bool
    margin: float
    cumulative: float
    remaining: float
    cause: str


class CostAccountant:
    """Sums the specification's terms over the steps of an episode. Outside one it sums nothing."""

    def __init__(self, specification: Specification) -> None:
        raise NotImplementedError

    def reset(self, episode_id: str, task: Task = Task()) -> None:
        """Begin an episode; empty id: end it."""
        raise NotImplementedError

    def sample(self, world: WorldState) -> None:
        """Add a world state to the open step."""
        raise NotImplementedError

    def close_step(self, step: int) -> StepCosts:
        """Close the open step under this index and charge it."""
        raise NotImplementedError

    def live(self, world: WorldState) -> tuple[LiveMargin, ...]:
        """Margins now; changes nothing."""
        raise NotImplementedError
