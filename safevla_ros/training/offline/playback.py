"""A policy over the episodes of the data, as they were: what it makes of each step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from safevla_ros.training.episodes import EpisodeStore
from safevla_ros.training.offline import budgets
from safevla_ros.training.offline.data import OfflineData
from safevla_ros.training.offline.learners import Learner
from safevla_ros.training.offline.settings import OfflineError

Floats = NDArray[np.float64]


def features_of(
    learner: Learner[Any],
    store: EpisodeStore,
    data: OfflineData,
    report: Callable[[int, int], None],
) -> NDArray[np.float16]:
    """(N, F) what critics read of every step; the policy is told of no budget."""
    untold = len(learner.terms)
    rows = []
    for number, name in enumerate(data.names):
        report(number, len(data.names))
        batch = _batch(store, name, budgets.untold(_steps(data, number), untold))
        with torch.no_grad():
            found, _ = learner.encode(batch, learner.start(1))
        rows.append(found[0].numpy().astype(np.float16))
    report(len(data.names), len(data.names))
    return np.concatenate(rows)


def codes_of(learner: Learner[Any], store: EpisodeStore, data: OfflineData) -> NDArray[np.float32]:
    """(N, A) what was done in every step."""
    return np.concatenate([learner.codes(_load(store, name)) for name in data.names])


def acts_of(
    learner: Learner[Any],
    store: EpisodeStore,
    data: OfflineData,
    asked: Floats,
    temperature: float,
) -> NDArray[np.float32]:
    """(N, A) what the policy would do in every step (see Learner.act), told what remains of the
    budgets `asked` (K,) after what the episode had cost by then."""
    rows = []
    for number, name in enumerate(data.names):
        span = data.span(number)
        if learner.terms:
            scales = np.array([term.scale for term in learner.terms])
            budget = budgets.told(asked - data.columns.spent[span], scales)
        else:
            budget = budgets.untold(_steps(data, number), 0)
        batch = _batch(store, name, budget)
        with torch.no_grad():
            found, _ = learner.act(batch, learner.start(1), temperature)
        rows.append(found[0].numpy().astype(np.float32))
    return np.concatenate(rows)


def _steps(data: OfflineData, number: int) -> int:
    span = data.span(number)
    return span.stop - span.start


def _load(store: EpisodeStore, name: str) -> dict[str, NDArray]:
    arrays = store.load(name)
    if arrays is None:
        raise OfflineError(f"{store.folder}: an episode is gone: start the run anew")
    return arrays


def _batch(store: EpisodeStore, name: str, budget: NDArray[np.float32]) -> dict[str, torch.Tensor]:
    """(1, T, ...) arrays of an episode."""
    arrays = _load(store, name) | {"budget": budget}
    batch = {key: torch.from_numpy(array).unsqueeze(0) for key, array in arrays.items()}
    steps = len(budget)
    batch["first"] = (torch.arange(steps) == 0).unsqueeze(0)
    return batch
