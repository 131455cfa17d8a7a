"""Terms that a specification writes out itself, as clauses of signal temporal logic.

    always (base_speed < threshold)
    always (carrying > 0.5 -> base_speed < threshold)
    always (once[2s] (things_touched > 0.5) -> base_speed < threshold)
    always (person_distance < 1.5 -> historically[1s] (base_speed < threshold))

A comparison's right side is a number, or `threshold`: the term's own. `once[W]` holds when the
comparison held at some sample of the last W seconds, `historically[W]` when it held at all of them.
Only the past is looked at, so a margin is known at once, and only the window is remembered.

Robustness (Maler & Nickovic 2004; Donzé & Maler 2010): threshold - x for x < threshold, its negative
for >; the largest over the window for `once`, the least for `historically`; a -> b is the larger of
-rho_a and rho_b. A step's margin is the least over its samples.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from safevla_ros.robot.state import NANOSECONDS
from safevla_ros.safety.scalars import Scalar, scalar
from safevla_ros.safety.state import WorldState
from safevla_ros.safety.terms.base import CostTerm, Margin, StepCost, TermParameters

_COMPARISON = (
    r"\s*([A-Za-z_]\w*(?::\w+)?)\s*([<>])\s*(threshold|-?[0-9]+(?:\.[0-9]*)?(?:e-?[0-9]+)?)\s*"
)
_WINDOWED = rf"\s*(once|historically)\s*\[\s*([0-9]+(?:\.[0-9]*)?)\s*s\s*\]\s*\({_COMPARISON}\)\s*"
FORM = "always (x < threshold), always (a > 1 -> x < threshold), parts as once[2s] (x < 1)"


class ClauseError(ValueError):
    """A clause that cannot be read; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """`scalar < bound`, or > it, at a sample; or with `window_s` over the past."""

    name: str
    scalar: Scalar
    is_below: bool
    bound: float
    quantifier: str = ""
    window_s: float = 0.0

    def robustness(self, world: WorldState) -> float:
        """At this sample alone. NaN: the scalar is not known."""
        value = self.scalar.read(world)
        return self.bound - value if self.is_below else value - self.bound


@dataclass(frozen=True, slots=True)
class Clause:
    """`gate -> body` at every sample; without a gate the body alone."""

    body: Comparison
    gate: Comparison | None

    @property
    def parts(self) -> tuple[Comparison, ...]:
        """Gate and body."""
        return (self.body,) if self.gate is None else (self.gate, self.body)


def parse_clause(text: str, threshold: float) -> Clause:
    """Read a clause. Raises ClauseError."""
    outer = re.fullmatch(r"\s*always\s*\((.*)\)\s*", text)
    if outer is None:
        raise ClauseError(f"expected {FORM}")
    parts = [_comparison(part, threshold) for part in outer[1].split("->")]
    if len(parts) > 2:
        raise ClauseError("expected one -> at most")
    return Clause(parts[-1], parts[0] if len(parts) == 2 else None)


def _comparison(text: str, threshold: float) -> Comparison:
    quantifier, window_s = "", 0.0
    windowed = re.fullmatch(_WINDOWED, text)
    plain = re.fullmatch(_COMPARISON, text)
    if windowed is not None:
        quantifier, window_s = windowed[1], float(windowed[2])
        name, sign, bound = windowed.group(3, 4, 5)
    elif plain is not None:
        name, sign, bound = plain.groups()
    else:
        raise ClauseError(f"{text.strip()!r}: expected x < number, or once[2s] (x < number)")
    try:
        found = scalar(name)
    except KeyError as error:
        raise ClauseError(str(error.args[0])) from error
    value = threshold if bound == "threshold" else float(bound)
    return Comparison(name, found, sign == "<", value, quantifier, window_s)


class _Window:
    """Least or largest value of the last seconds, in memory bounded by the samples in them."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison
        self._sign = -1.0 if comparison.quantifier == "once" else 1.0
        self._length_ns = round(comparison.window_s * NANOSECONDS)
        self._kept: deque[tuple[int, float]] = deque()
        """Stamps with values, those that may still be the least (of sign times value)."""

    def peek(self, world: WorldState) -> float:
        """What `push` would return. Changes nothing."""
        value = self._comparison.robustness(world)
        if not self._comparison.quantifier:
            return value
        oldest = world.stamp_ns - self._length_ns
        past = next((kept for stamp, kept in self._kept if stamp >= oldest), math.inf)
        return self._sign * min(self._sign * value, past)

    def push(self, world: WorldState) -> float:
        """Take the next sample; the value over the window that ends with it."""
        result = self.peek(world)
        if self._comparison.quantifier and not math.isnan(result):
            value = self._sign * self._comparison.robustness(world)
            while self._kept and self._kept[-1][1] >= value:
                self._kept.pop()
            self._kept.append((world.stamp_ns, value))
            while self._kept[0][0] < world.stamp_ns - self._length_ns:
                self._kept.popleft()
        return result


class ClauseTerm(CostTerm[TermParameters]):
    """A clause as a cost term. Charged per step."""

    def __init__(self, name: str, threshold: float, clause: Clause) -> None:
        self.name = name  # type: ignore[misc]
        self.unit = clause.body.scalar.unit  # type: ignore[misc]
        self.signals = frozenset().union(*(part.scalar.signals for part in clause.parts))
        self._clause = clause
        super().__init__(threshold, TermParameters(), ())

    def reset(self) -> None:
        self._windows = [_Window(part) for part in self._clause.parts]
        self._observed_ns = -1
        self._margins: list[Margin] = []

    def observe(self, world: WorldState) -> None:
        if world.stamp_ns > self._observed_ns:
            self._observed_ns = world.stamp_ns
            self._margins.append(self._margin([window.push(world) for window in self._windows]))

    def __call__(
        self, start: WorldState, samples: Sequence[WorldState], end: WorldState
    ) -> StepCost:
        for world in samples:
            self.observe(world)
        margins, self._margins = self._margins, []
        known = [margin for margin in margins if not math.isnan(margin.value)]
        least = min(known, key=lambda margin: margin.value, default=Margin(math.nan, "no sample"))
        if len(known) < len(margins) and not least.value < 0.0:
            least = next(margin for margin in margins if math.isnan(margin.value))
        return StepCost(1.0 if least.value < 0.0 else 0.0, least.value, least.cause)

    def live(self, world: WorldState, start: WorldState | None = None) -> Margin:
        return self._margin([window.peek(world) for window in self._windows])

    def _margin(self, values: list[float]) -> Margin:
        for part, value in zip(self._clause.parts, values, strict=True):
            if math.isnan(value):
                return Margin(math.nan, f"{part.name}: not known")
        body, name = values[-1], self._clause.body.name
        value = body if self._clause.gate is None else max(-values[0], body)
        return Margin(value, f"{name} is beyond its bound" if value < 0.0 else name)
