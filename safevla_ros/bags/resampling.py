"""Series of stamped values at the times of steps. Nothing is made up: where nothing is near enough
in time, there is nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pick(
    stamps_ns: NDArray[np.int64], times_ns: NDArray[np.int64], how: str, limit_s: float
) -> NDArray[np.int64]:
    """For each time (T,) the index of the value that holds then; -1: none within `limit_s`.

    `stamps_ns` (N,) ascend. `how`: "hold" is the last one up to the time, "nearest" the one nearest
    to it on either side.
    """
    if not len(stamps_ns):
        return np.full(len(times_ns), -1, np.int64)
    before = np.searchsorted(stamps_ns, times_ns, side="right") - 1
    index = np.maximum(before, 0)
    if how == "nearest":
        after = np.minimum(before + 1, len(stamps_ns) - 1)
        is_after = np.abs(stamps_ns[after] - times_ns) < np.abs(stamps_ns[index] - times_ns)
        index = np.where(is_after, after, index)
    gap_s = np.abs(stamps_ns[index] - times_ns) / 1e9
    found = gap_s <= limit_s
    if how == "hold":
        found &= before >= 0
    return np.where(found, index, -1).astype(np.int64)


def sample(
    stamps_ns: NDArray[np.int64],
    values: NDArray[np.float64],
    times_ns: NDArray[np.int64],
    how: str,
    limit_s: float,
) -> NDArray[np.float64]:
    """Values (N,) at times (T,); NaN where nothing is within `limit_s`. "interpolate" needs a value
    on both sides of the time, each within the limit, or one at the time itself."""
    if how != "interpolate":
        index = pick(stamps_ns, times_ns, how, limit_s)
        padded = np.append(values, np.nan)
        return padded[index]
    before = pick(stamps_ns, times_ns, "hold", limit_s)
    # The first at or after a time is the last up to it, seen backwards.
    after = pick(-stamps_ns[::-1], -times_ns, "hold", limit_s)
    after = np.where(after >= 0, len(stamps_ns) - 1 - after, -1)
    found = np.full(len(times_ns), np.nan)
    both = (before >= 0) & (after >= 0)
    if both.any():
        low, high = before[both], after[both]
        span = (stamps_ns[high] - stamps_ns[low]).astype(np.float64)
        share = (times_ns[both] - stamps_ns[low]) / np.where(span > 0, span, 1.0)
        found[both] = values[low] + share * (values[high] - values[low])
    return found
