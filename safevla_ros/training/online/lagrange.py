"""Lagrange multipliers: how much a cost weighs, from how far it is from its budget.

    error       e = (J - d) / max(d, s)          in budget units, so that one set of gains serves all
    pid         P = EMA(e), I = sum of e, D = rise of P
                lambda = clip(Kp P + Ki I + Kd max(D, 0), 0, cap)
    adam        ascent on e by Adam, clipped to [0, cap]
    gradient    ascent on e, clipped to [0, cap]

J is the mean cost of an episode, d its budget, s a scale for budgets near or at zero. The controller
is that of Stooke et al., "Responsive safety in reinforcement learning by PID Lagrangian methods",
arXiv 2007.03964; Adam with rate 0.035 from 0.001 is what SafeVLA, arXiv 2503.03480, did with one
multiplier. Rows are constrained separately (a row is a task, or all tasks); columns are cost terms.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safevla_ros.training.online.settings import MultiplierSettings

ADAM = (0.9, 0.999, 1e-8)


def budget_error(
    cost: NDArray[np.float64], budget: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(J - d) / max(d, s), of any shape; NaN where the budget is NaN (there is no constraint)."""
    return (cost - budget) / np.maximum(budget, scale)


@dataclass
class MultiplierState:
    """All that a row of multipliers remembers; arrays (K,). Kept in the checkpoint."""

    multiplier: NDArray[np.float64]
    smoothed: NDArray[np.float64]
    integral: NDArray[np.float64]
    momentum: NDArray[np.float64]
    square: NDArray[np.float64]
    updates: int = 0

    @classmethod
    def new(cls, terms: int, start: float) -> MultiplierState:
        """The state before the first update."""
        return cls(
            np.full(terms, start),
            np.zeros(terms),
            np.zeros(terms),
            np.zeros(terms),
            np.zeros(terms),
        )


def pid(
    state: MultiplierState, error: NDArray[np.float64], settings: MultiplierSettings
) -> MultiplierState:
    """One update by PID from errors (K,).

    Anti-windup: the integral is never negative, and does not grow while the multiplier is at its
    cap; so it leaves the cap as soon as the error falls.
    """
    smoothed = error
    rise = np.zeros_like(error)
    if state.updates:  # the average begins at the first error, not at zero
        smoothed = settings.smoothing * state.smoothed + (1.0 - settings.smoothing) * error
        rise = np.maximum(smoothed - state.smoothed, 0.0)
    others = settings.kp * smoothed + settings.kd * rise
    summed = np.maximum(state.integral + error, 0.0)
    saturated = others + settings.ki * summed > settings.cap
    integral = np.where(saturated & (error > 0.0), state.integral, summed)
    return MultiplierState(
        multiplier=np.clip(others + settings.ki * integral, 0.0, settings.cap),
        smoothed=smoothed,
        integral=integral,
        momentum=state.momentum,
        square=state.square,
        updates=state.updates + 1,
    )


def adam(
    state: MultiplierState, error: NDArray[np.float64], settings: MultiplierSettings
) -> MultiplierState:
    """One step of Adam (Kingma and Ba, arXiv 1412.6980) up the errors (K,).

    Anti-windup: momentum that pushes against a bound is forgotten there.
    """
    beta1, beta2, epsilon = ADAM
    updates = state.updates + 1
    momentum = beta1 * state.momentum + (1.0 - beta1) * error
    square = beta2 * state.square + (1.0 - beta2) * error**2
    step = momentum / (1.0 - beta1**updates)
    step = step / (np.sqrt(square / (1.0 - beta2**updates)) + epsilon)
    free = state.multiplier + settings.rate * step
    multiplier = np.clip(free, 0.0, settings.cap)
    return MultiplierState(
        multiplier=multiplier,
        smoothed=error,
        integral=state.integral,
        momentum=np.where(multiplier == free, momentum, 0.0),
        square=square,
        updates=updates,
    )


def gradient(
    state: MultiplierState, error: NDArray[np.float64], settings: MultiplierSettings
) -> MultiplierState:
    """One step of gradient ascent on the errors (K,)."""
    return MultiplierState(
        multiplier=np.clip(state.multiplier + settings.rate * error, 0.0, settings.cap),
        smoothed=error,
        integral=state.integral,
        momentum=state.momentum,
        square=state.square,
        updates=state.updates + 1,
    )


RULES = {"pid": pid, "adam": adam, "gradient": gradient}


@dataclass
class Multipliers:
    """Multipliers of R rows and K terms. `budgets`, `scales` (R, K); a budget of NaN constrains
    nothing, and its multiplier stays 0."""

    settings: MultiplierSettings
    budgets: NDArray[np.float64]
    scales: NDArray[np.float64]
    rows: list[MultiplierState] = field(init=False)
    errors: NDArray[np.float64] = field(init=False)
    """(R, K) of the last update of each row; NaN before it."""

    def __post_init__(self) -> None:
        start = min(self.settings.start, self.settings.cap)
        self.rows = [MultiplierState.new(self.budgets.shape[1], start) for _ in self.budgets]
        self.errors = np.full(self.budgets.shape, np.nan)

    @property
    def values(self) -> NDArray[np.float64]:
        """(R, K) the multipliers."""
        values = np.stack([row.multiplier for row in self.rows])
        return np.where(np.isnan(self.budgets), 0.0, values)

    @property
    def saturated(self) -> NDArray[np.bool_]:
        """(R, K) whether a multiplier is at its cap."""
        return self.values >= self.settings.cap

    def update(self, row: int, cost: NDArray[np.float64]) -> None:
        """Take note of the mean cost of an episode (K,) of a row."""
        self.errors[row] = budget_error(cost, self.budgets[row], self.scales[row])
        error = np.nan_to_num(self.errors[row], nan=0.0)
        self.rows[row] = RULES[self.settings.rule](self.rows[row], error, self.settings)

    def state(self) -> dict[str, Any]:
        """Numbers and lists of numbers, for a checkpoint."""
        rows = [{k: np.asarray(v).tolist() for k, v in asdict(row).items()} for row in self.rows]
        return {"rows": rows, "errors": _without_nan(self.errors)}

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        self.rows = [
            MultiplierState(
                updates=row["updates"],
                **{key: np.array(row[key], float) for key in row if key != "updates"},
            )
            for row in state["rows"]
        ]
        self.errors = np.array(state["errors"], float)


def _without_nan(array: NDArray[np.float64]) -> list[list[float | None]]:
    return [[None if np.isnan(value) else float(value) for value in row] for row in array]
