"""J: the mean cost of all episodes that were *started* in a window, once all of them have ended.

A mean over the episodes that happen to end would favour short ones: a policy that fails early would
look cheap. A window closes when enough episodes were started in it; those that start later belong to
the next one. It is measured when the last of its episodes has ended; nothing is measured of nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from safevla_ros.training.online.distributed import sum_over_processes


@dataclass(frozen=True)
class Measurement:
    """A window of a row: how many episodes, their mean cost (K,), and the share of them (K,) that
    kept within the budget."""

    row: int
    episodes: int
    cost: NDArray[np.float64]
    satisfied: NDArray[np.float64]


class EpisodeWindows:
    """Windows of R rows that are measured separately, over K costs. `size`: episodes at least.

    Each process counts its own episodes; `settle` adds them up, and must be called by all.
    """

    def __init__(self, budgets: NDArray[np.float64], size: int) -> None:
        self._budgets = budgets
        self._size = size
        self._oldest = [0] * len(budgets)
        self._open = [[self._empty()] for _ in budgets]

    def started(self, row: int) -> int:
        """Count an episode that starts; the window that it belongs to."""
        self._open[row][-1][0] += 1
        return self._oldest[row] + len(self._open[row]) - 1

    def ended(self, row: int, window: int, cost: NDArray[np.float64]) -> None:
        """Count the end of an episode that started in that window, with its costs (K,)."""
        counts = self._open[row][window - self._oldest[row]]
        within = (cost <= self._budgets[row]) | np.isnan(self._budgets[row])
        counts[1:] += np.concatenate([[1.0], cost, within])

    def settle(self) -> list[Measurement]:
        """Close windows that are full, and measure those whose episodes have all ended."""
        measured = []
        for row, windows in enumerate(self._open):
            total = sum_over_processes(torch.from_numpy(np.stack(windows))).numpy()
            if total[-1, 0] >= self._size:
                windows.append(self._empty())
            for started, ended, *sums in total[: len(windows) - 1]:
                if ended < started:
                    break  # later windows wait, so that measurements come in order
                costs, satisfied = np.split(np.array(sums) / ended, 2)
                measured.append(Measurement(row, int(ended), costs, satisfied))
                del windows[0]
                self._oldest[row] += 1
        return measured

    def state(self) -> dict[str, Any]:
        """Numbers and lists of them, for a checkpoint. Episodes that run are counted as started: who
        resumes has to let them end."""
        return {"oldest": self._oldest, "open": [np.stack(w).tolist() for w in self._open]}

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        self._oldest = list(state["oldest"])
        self._open = [[np.array(counts) for counts in windows] for windows in state["open"]]

    def _empty(self) -> NDArray[np.float64]:
        """Started, ended, sums of costs (K), episodes within each budget (K)."""
        return np.zeros(2 + 2 * self._budgets.shape[1])
