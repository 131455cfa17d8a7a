"""Recorded episodes as batches for a recurrent policy: streams that play side by side.

Each of B streams plays whole episodes in order, window after window of T steps, so that the state a
policy carries out of one window belongs into the next (truncated backpropagation through time).
Where an episode ends within a window the next one begins, marked by `first`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from safevla_ros.training.episodes import EpisodeStore

FIRST = "first"


@dataclass
class _Playing:
    arrays: dict[str, NDArray]
    at: int = 0

    @property
    def left(self) -> int:
        return len(next(iter(self.arrays.values()))) - self.at


class Episodes(Protocol):
    """Where episodes come from."""

    def draw(self) -> dict[str, NDArray]:
        """The arrays of the next episode, all of shape (steps, ...)."""


@dataclass
class Library:
    """Which episodes there are, and which to play next: one of those played least so far, so that
    what is new comes first and nothing is played much more often than the rest."""

    store: EpisodeStore
    rng: np.random.Generator
    _plays: dict[str, int] = field(default_factory=dict)

    def add(self, names: Sequence[str]) -> None:
        """Take note of episodes; of those that the store has dropped, none."""
        for name in names:
            if name in self.store:
                self._plays.setdefault(name, 0)

    def __len__(self) -> int:
        return len(self._plays)

    def draw(self) -> dict[str, NDArray]:
        """The arrays of the next episode. Raises LookupError when there is none."""
        while self._plays:
            least = min(self._plays.values())
            names = [name for name, plays in self._plays.items() if plays == least]
            name = names[self.rng.integers(len(names))]
            arrays = self.store.load(name)
            if arrays is not None:
                self._plays[name] += 1
                return arrays
            del self._plays[name]  # dropped from the store
        raise LookupError(f"{self.store.folder}: no episode to play")


class Streams:
    """B episodes playing at once; `next_window` gives arrays of shape (B, T, ...)."""

    def __init__(self, library: Episodes, streams: int, window: int) -> None:
        self._library = library
        self._window = window
        self._playing = [_Playing(library.draw()) for _ in range(streams)]

    def next_window(self) -> dict[str, NDArray]:
        """The next T steps of every stream: every array of the episodes, and `first` (B, T) bool,
        true at the first step of an episode."""
        count = len(self._playing)
        batch = {
            key: np.empty((count, self._window, *array.shape[1:]), array.dtype)
            for key, array in self._playing[0].arrays.items()
        }
        batch[FIRST] = np.zeros((count, self._window), bool)
        for row in range(count):
            self._fill(row, batch)
        return batch

    def _fill(self, row: int, batch: dict[str, NDArray]) -> None:
        at = 0
        while at < self._window:
            playing = self._playing[row]
            if not playing.left:
                playing = self._playing[row] = _Playing(self._library.draw())
            batch[FIRST][row, at] = playing.at == 0
            steps = min(playing.left, self._window - at)
            for key, array in playing.arrays.items():
                batch[key][row, at : at + steps] = array[playing.at : playing.at + steps]
            playing.at += steps
            at += steps
