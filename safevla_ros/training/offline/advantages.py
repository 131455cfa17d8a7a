"""What an action was better or worse than expected by, over a few steps.

Arrays are those of all steps of all episodes, one after another: (N,), with `last` true at the last
step of each episode.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def to_go(values: Floats, last: Flags) -> Floats:
    """(N, ...) sum of `values` (N, ...) from each step to its episode's end, undiscounted."""
    sums = np.cumsum(values, axis=0)
    ends = np.flatnonzero(last)
    end_of = ends[np.searchsorted(ends, np.arange(len(values)))]
    return sums[end_of] - sums + values


def discounted(values: Floats, last: Flags, cut: Flags, discount: float) -> Floats:
    """(N, ...) what follows from each step on, of `values` (N, ...), every further step counting
    `discount` times as much. Nothing is counted after an episode's end, nor from the next step with
    `cut` on, where something else than the policy decided."""
    sums = np.array(values, dtype=float)
    for at in range(len(values) - 2, -1, -1):
        if not (last[at] or cut[at] or cut[at + 1]):
            sums[at] += discount * sums[at + 1]
    return sums


def windows(last: Flags, cut: Flags, steps: int) -> NDArray[np.int64]:
    """(N,) length of the window that begins at each step: at most `steps`, within the episode.

    A window ends before a step with `cut`, where something else than the policy decided, and one
    that begins there has one step.
    """
    length = np.ones(len(last), np.int64)
    going = ~(last | cut)
    at = np.arange(len(last))
    for more in range(1, steps):
        index = np.minimum(at + more, len(last) - 1)
        going = going & ~cut[index]
        length[going] += 1
        going = going & ~last[index]
    return length


def advantages(values: Floats, expected: Floats, last: Flags, length: NDArray[np.int64]) -> Floats:
    """(N,) sum of `values` (N,) over each step's window, and what is expected after it, less what
    was expected before: `expected` (N,) is the critic's; after an episode's end it is 0."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    after = at + length
    within = sums[after] - sums[at]
    beyond = np.where(last[after - 1], 0.0, expected[np.minimum(after, len(values) - 1)])
    return within + beyond - expected
