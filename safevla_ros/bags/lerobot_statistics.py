"""Minimum, maximum, mean and deviation of each feature, as LeRobot normalises by them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Moments = NDArray[np.float64]
"""(5, C): how many values are known, their sum, sum of squares, minimum and maximum."""


def moments(values: NDArray[Any], before: Moments | None = None) -> Moments:
    """Those of values (N, C), and of what came before; unknown values (NaN) are left out."""
    known = np.isfinite(values)
    summed = np.where(known, values, 0.0)
    new = np.array(
        [
            known.sum(0),
            summed.sum(0),
            (summed**2).sum(0),
            np.where(known, values, np.inf).min(0),
            np.where(known, values, -np.inf).max(0),
        ]
    )
    return new if before is None else merged(before, new)


def merged(one: ArrayLike, other: ArrayLike) -> Moments:
    """The moments of both together."""
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    return np.concatenate(
        [a[:3] + b[:3], np.minimum(a[3:4], b[3:4]), np.maximum(a[4:], b[4:])], dtype=np.float64
    )


def as_json(found: Moments, *, picture: bool) -> dict[str, Any]:
    """A feature's entry in meta/stats.json; of pictures per channel."""
    count, total, squares, low, high = found
    some = np.maximum(count, 1.0)
    mean = total / some
    deviation = np.sqrt(np.maximum(squares / some - mean**2, 0.0))
    figures = {"min": low, "max": high, "mean": mean, "std": deviation}
    shape = (-1, 1, 1) if picture else (-1,)
    return {
        key: np.where(np.isfinite(value), value, 0.0).reshape(shape).tolist()
        for key, value in figures.items()
    } | {"count": [int(np.max(count))]}
