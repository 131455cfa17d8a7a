"""What a cost term is.

A term sees world states and nothing else. It is called once per closed step with the world at the
step's start, the samples of the step in order, and the world at its end (the last sample), and says
what the step costs, how near it came (the margin, positive is safe) and what caused it. The
accountant calls it only with states that have the fields it names in `signals`; a step with states
that lack them is reported as not applicable, unless a violation was seen in the others.

To add a term: one file in this folder with a subclass of CostTerm whose `name` is the file's, and
one entry under `terms:` in a specification.

A margin of 0 or more costs 0, a negative one costs 1. A term about how things are (`SampledTerm`)
judges each sample, and the least margin counts. A term about something happening under a condition
(`ConditionTerm`) is violated when both hold: rho = max(rho_A/c_A, rho_B/c_B), cut off at 1. For a term about an event (`EventTerm`) the
margin of a step is 0.5 - 1[event], where the event is the onset: the thing begins in this step,
having been absent for `rearm_s` at least. Touching a table for a minute is one event, so it is one
step with a negative margin; `live` in contrast shows the state: negative as long as it is touched.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from safevla_ros.robot.state import NANOSECONDS
from safevla_ros.safety.state import WorldState
from safevla_ros.safety.zones import Number, Zone

NonNegative = Annotated[Number, Field(ge=0.0)]


class TermParameters(BaseModel):
    """What a term lets a specification set beside threshold, scale and budget."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Margin:
    """How near a violation is, in the term's unit; NaN: not applicable, `cause` says why."""

    value: float
    cause: str = ""


@dataclass(frozen=True, slots=True)
class StepCost:
    """One closed step: cost, least margin (NaN: not applicable) and what caused it."""

    cost: float
    margin: float
    cause: str = ""


P = TypeVar("P", bound=TermParameters)


class CostTerm(ABC, Generic[P]):
    """One cost. Constructed once per monitor; `reset` begins an episode."""

    name: ClassVar[str]
    unit: ClassVar[str]
    """Of margin, threshold and scale."""
    signals: frozenset[str]
    """Fields of WorldState without which the term is not applicable."""
    threshold_range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    """Thresholds that make sense, both ends included."""
    Parameters: ClassVar[type[TermParameters]] = TermParameters

    def __init__(self, threshold: float, parameters: P, zones: Sequence[Zone]) -> None:
        self.threshold = threshold
        self.parameters = parameters
        self.reset()

    def reset(self) -> None:
        """Forget the last episode."""

    @abstractmethod
    def __call__(
        self, start: WorldState, samples: Sequence[WorldState], end: WorldState
    ) -> StepCost:
        """Judge one closed step; `samples` (at least one) are in order, the last one is `end`."""

    @abstractmethod
    def live(self, world: WorldState, start: WorldState | None = None) -> Margin:
        """The margin now; `start`: the world when the open step began. Changes nothing."""

    def observe(self, world: WorldState) -> None:
        """The open step has this sample. For terms that remember what was."""


class SampledTerm(CostTerm[P]):
    """A term about how things are: a step is as safe as the least safe of its samples. Where one
    cannot be judged the step cannot, unless another violates."""

    def __call__(
        self, start: WorldState, samples: Sequence[WorldState], end: WorldState
    ) -> StepCost:
        margins = [self.live(world) for world in samples]
        known = [margin for margin in margins if not math.isnan(margin.value)]
        least = min(known, key=lambda margin: margin.value, default=margins[-1])
        if len(known) < len(margins) and not least.value < 0.0:
            least = next(margin for margin in margins if math.isnan(margin.value))
        return StepCost(1.0 if least.value < 0.0 else 0.0, least.value, least.cause)


class ConditionTerm(SampledTerm[P]):
    """A term about a thing that happens (A) while a condition holds (B). While nothing happens the
    margin is 1."""

    unit = "1"

    def live(self, world: WorldState, start: WorldState | None = None) -> Margin:
        happening = self.happening(world)
        if not happening:
            return Margin(1.0)
        return min(
            (self.condition(world, key, cause) for key, cause in happening.items()),
            key=lambda margin: margin.value,
        )

    @abstractmethod
    def happening(self, world: WorldState) -> Mapping[str, str]:
        """A: what happens, by the id of the thing it happens to, with its cause in words."""

    @abstractmethod
    def condition(self, world: WorldState, key: str, cause: str) -> Margin:
        """B: its margin, divided by its scale, at most 1; NaN: not known."""


def absent(world: WorldState, signals: Iterable[str]) -> str:
    """Why a world state does not do for a term that needs these fields; empty: it does."""
    return "; ".join(
        world.missing.get(signal, f"{signal}: not known")
        for signal in sorted(signals)
        if getattr(world, signal) is None
    )


class Onsets:
    """Tells when things begin that may flicker: each key once, until it was absent for a while."""

    def __init__(self, rearm_s: float) -> None:
        self._rearm_ns = round(rearm_s * NANOSECONDS)
        self._active_ns: dict[Hashable, int] = {}
        self._absent: set[Hashable] = set()

    def begin(self, active: Mapping[Hashable, str], stamp_ns: int) -> list[str]:
        """What begins with this sample, as the texts of its keys."""
        for key in [key for key in self._absent if self._free(key, stamp_ns)]:
            del self._active_ns[key]
        begun = [text for key, text in active.items() if key not in self._active_ns]
        self._active_ns.update(dict.fromkeys(active, stamp_ns))
        self._absent = self._active_ns.keys() - active.keys()
        return begun

    def _free(self, key: Hashable, stamp_ns: int) -> bool:
        return stamp_ns - self._active_ns[key] >= self._rearm_ns


class EventTerm(CostTerm[P]):
    """A term about things that happen: rho = 0.5 - 1[event]."""

    unit = "1"
    threshold_range = (0.5, 0.5)

    def __call__(
        self, start: WorldState, samples: Sequence[WorldState], end: WorldState
    ) -> StepCost:
        causes = [cause for world in samples for cause in self.begun(world)]
        if not causes:
            return StepCost(0.0, self.threshold)
        return StepCost(1.0, self.threshold - 1.0, ", ".join(dict.fromkeys(causes)))

    def live(self, world: WorldState, start: WorldState | None = None) -> Margin:
        active = self.active(world)
        if not active:
            return Margin(self.threshold)
        return Margin(self.threshold - 1.0, ", ".join(active.values()))

    @abstractmethod
    def active(self, world: WorldState) -> Mapping[Hashable, str]:
        """What is happening in this state: a key for each thing, with its cause in words."""

    @abstractmethod
    def begun(self, world: WorldState) -> list[str]:
        """Take the next sample into account; the causes of what begins with it."""
