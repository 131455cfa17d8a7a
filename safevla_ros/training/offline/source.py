"""Episodes as a fit meets them: each time with another budget, or told of none."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from safevla_ros.training.episodes import EpisodeStore
from safevla_ros.training.offline import budgets
from safevla_ros.training.offline.data import FIT, OfflineData
from safevla_ros.training.offline.pricing import Lesson, Priced
from safevla_ros.training.offline.settings import OfflineError, OfflineSettings
from safevla_ros.training.offline.weights import lagrangian

Floats = NDArray[np.float64]

WEIGHT = "sample_weight"


@dataclass
class Source:
    """Draws episodes of the part that is fitted, the least played first, with `budget` (T, 2K) and
    `sample_weight` (T,) beside the store's arrays.

    With `acts` (N, A), what the policy would do, `sample_weight` is (T, A): of all actions, each as
    often as the policy would take it.

    With `lessons` each episode is told one of their budgets, drawn evenly, and weighted by what that
    budget makes of its advantages; a share `untold` is told none, and weighted so that on average
    the loss is that of the told episodes and `untold_weight` times that of all of them. Without,
    `keep` (E,) says which episodes are cloned; None: all. `scales` are those of the budget input,
    (0,) where the policy has none.
    """

    store: EpisodeStore
    data: OfflineData
    settings: OfflineSettings
    rng: np.random.Generator
    scales: Floats
    priced: Priced | None = None
    lessons: tuple[Lesson, ...] = ()
    keep: NDArray | None = None
    acts: NDArray[np.float32] | None = None
    _waiting: list[int] = field(default_factory=list)

    def draw(self) -> dict[str, NDArray]:
        """The arrays of the next episode. Raises OfflineError when one is gone from the store."""
        if not self._waiting:
            self._waiting = self.rng.permutation(np.flatnonzero(self._playable())).tolist()
        number = self._waiting.pop()
        arrays = self.store.load(self.data.names[number])
        if arrays is None:
            raise OfflineError(f"{self.store.folder}: an episode is gone: start the run anew")
        span = self.data.span(number)
        steps = span.stop - span.start
        tell = bool(self.lessons) and self.rng.random() >= self.settings.untold
        if tell:
            lesson = self.lessons[self.rng.integers(len(self.lessons))]
            weight, budget = self._told(lesson, span)
            weight = weight / (1.0 - self.settings.untold)
        else:
            weight, budget = np.ones(steps), budgets.untold(steps, len(self.scales))
            if self.acts is not None:
                weight = self.acts[span].astype(float)
            if self.lessons:
                weight *= self.settings.untold_weight / self.settings.untold
        arrays[WEIGHT] = weight.astype(np.float32)
        if len(self.scales):
            arrays["budget"] = budget
        return arrays

    def _playable(self) -> NDArray:
        fit = self.data.part == FIT
        return fit if self.keep is None else fit & self.keep

    def _told(self, lesson: Lesson, span: slice) -> tuple[Floats, NDArray[np.float32]]:
        """Weights (T,) and budget input (T, 2 inputs) of an episode in a lesson."""
        assert self.priced is not None
        priced, multipliers = self.priced, lesson.extraction.dual.multipliers
        advantage = lagrangian(priced.reward[span], priced.cost[span], multipliers)
        weight = lesson.extraction.tilt(advantage)
        if self.acts is not None:
            others = lagrangian(priced.others_reward[span], priced.others_cost[span], multipliers)
            weight = lesson.extraction.tilt(others) * self.acts[span]
        remaining = lesson.budget - self.data.columns.spent[span]
        if self.settings.method == "binary":
            weight = (weight >= 1.0).astype(float)
        elif self.settings.method == "condition":
            weight = np.ones_like(weight)
            good = np.where(advantage > lesson.good, 1.0, -1.0)
            remaining = np.concatenate([remaining, good[:, None]], axis=1)
        return weight, budgets.told(remaining, self.scales)
