"""Costs per step and per episode: the same bookkeeping in monitor, evaluation and bag scoring."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, auto

from safevla_ros.safety.specification import Specification, TermSettings
from safevla_ros.safety.state import NO_TASK, Task, WorldState
from safevla_ros.safety.terms.base import CostTerm, Margin, StepCost, absent


class Status(Enum):
    """Whether a term could be judged. Names are the constants of TermCost."""

    OK = auto()
    NOT_APPLICABLE = auto()


@dataclass(frozen=True, slots=True)
class TermCost:
    """One term over one closed step; fields as in the TermCost message. `remaining` NaN: no
    budget."""

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
    """All terms over one closed step. `stamp_ns`: its last sample's; `frame`: the world frame."""

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
    """Sums the specification's terms over the steps of an episode. Outside one it sums nothing.

    A step's samples are the world states between two calls of `close_step`; its start is the last
    sample of the step before. The step's length is the caller's business.
    """

    def __init__(self, specification: Specification) -> None:
        self.specification = specification
        self._terms = specification.make_terms()
        self.reset("")

    def reset(self, episode_id: str, task: Task = NO_TASK) -> None:
        """Begin an episode on a task; empty id: there is none."""
        self.episode_id, self.task = episode_id, task
        self._cumulative = dict.fromkeys(self._terms, 0.0)
        self._start: WorldState | None = None
        self._samples: list[WorldState] = []
        for term in self._terms.values():
            term.reset()

    def begin_at(self, world: WorldState) -> None:
        """The first step of the episode starts in this state. Without it, in its first sample."""
        self._start = world

    def sample(self, world: WorldState) -> None:
        """Add a world state to the open step. Outside an episode it is not kept."""
        if not self.episode_id:
            return
        self._samples.append(world)
        for name, term in self._terms.items():
            if not absent(world, term.signals) and not self._settings(name).when.fails(world):
                term.observe(world)

    def close_step(self, step: int) -> StepCosts:
        """Close the open step under this index and charge it.

        A step without any sample is not applicable in all terms.
        """
        samples, self._samples = self._samples, []
        terms = tuple(
            self._charge(name, *self._judge(name, term, samples))
            for name, term in self._terms.items()
        )
        if samples:
            self._start = samples[-1]
        last = self._start
        return StepCosts(
            episode_id=self.episode_id,
            step=step,
            stamp_ns=0 if last is None else last.stamp_ns,
            frame="" if last is None else last.frame,
            terms=terms,
            sources=_sources(samples),
        )

    def live(self, world: WorldState) -> tuple[LiveMargin, ...]:
        """Margins now; changes nothing."""
        margins = []
        start = self._start or (self._samples[0] if self._samples else None)
        for name, term in self._terms.items():
            reason = absent(world, term.signals)
            if idle := self._settings(name).when.fails(world):
                margin = Margin(self._settings(name).scale, idle)
            elif reason:
                margin = Margin(math.nan, reason)
            else:
                known = start is not None and not absent(start, term.signals)
                margin = term.live(world, start if known else None)
            margins.append(
                LiveMargin(
                    name,
                    not math.isnan(margin.value),
                    margin.value,
                    self._cumulative[name],
                    self._remaining(name),
                    margin.cause,
                )
            )
        return tuple(margins)

    def _settings(self, name: str) -> TermSettings:
        return self.specification.terms[name]

    def _judge(
        self, name: str, term: CostTerm, samples: list[WorldState]
    ) -> tuple[Status, StepCost]:
        """A step is applicable when all its samples are, or when a violation was seen anyway.
        Samples in which the term does not apply are as safe as its scale."""
        when = self._settings(name).when
        if samples and (idle := [why for world in samples if (why := when.fails(world))]):
            samples = [world for world in samples if not when.fails(world)]
            if not samples:
                return Status.OK, StepCost(0.0, self._settings(name).scale, idle[0])
        reasons = [absent(world, term.signals) for world in samples]
        seen = [world for world, reason in zip(samples, reasons, strict=True) if not reason]
        reason = next(filter(None, reasons), "") if samples else "no world state in this step"
        if seen:
            start = self._start
            if start is None or absent(start, term.signals):
                start = seen[0]
            cost = term(start, seen, seen[-1])
            if cost.margin < 0.0 or (not reason and not math.isnan(cost.margin)):
                return Status.OK, cost
            reason = reason or cost.cause
        return Status.NOT_APPLICABLE, StepCost(0.0, math.nan, reason)

    def _charge(self, name: str, status: Status, step: StepCost) -> TermCost:
        self._cumulative[name] += step.cost
        return TermCost(
            name=name,
            status=status,
            cost=step.cost,
            margin=step.margin,
            cumulative=self._cumulative[name],
            remaining=self._remaining(name),
            cause=step.cause,
        )

    def _remaining(self, name: str) -> float:
        budget = self._settings(name).budget
        return math.nan if budget is None else budget - self._cumulative[name]


def _sources(samples: list[WorldState]) -> tuple[Source, ...]:
    """Every signal of the first sample, then for each sample those that changed."""
    sources = []
    known: dict[str, int] = {}
    for index, world in enumerate(samples):
        for signal, stamp_ns in world.sources.items():
            if known.get(signal) != stamp_ns:
                sources.append(Source(index, signal, stamp_ns))
                known[signal] = stamp_ns
    return tuple(sources)
