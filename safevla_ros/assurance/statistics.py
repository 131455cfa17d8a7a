"""Figures with what they are worth: percentiles and intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

PERCENTILES = (50, 95, 99)


def percentiles(values: Sequence[float]) -> dict[str, float | int | None]:
    """p50, p95, p99 (linear between neighbours; None where there is no value) and count."""
    found: dict[str, float | int | None] = {
        f"p{percent}": round(float(np.percentile(values, percent)), 3) if len(values) else None
        for percent in PERCENTILES
    }
    return found | {"count": len(values)}


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a rate. Raises ValueError unless 0 <= successes <= trials > 0."""
    if trials <= 0 or not 0 <= successes <= trials:
        raise ValueError(f"expected 0 <= successes <= trials > 0, got {successes} of {trials}")
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    rate = successes / trials
    weight = 1.0 + z * z / trials
    centre = (rate + z * z / (2.0 * trials)) / weight
    half = z / weight * math.sqrt(rate * (1.0 - rate) / trials + (z / (2.0 * trials)) ** 2)
    # Exactly 0 and 1 at the ends, where rounding would leave a trace.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return low, high


def bootstrap_interval(
    groups: Sequence[ArrayLike],
    statistic: Callable[[Sequence[NDArray[np.float64]]], NDArray[np.float64]],
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap of a statistic of independent groups, each resampled by itself.

    A group is (n,) or (n, k): k values that belong together, which are drawn together. `statistic`
    takes one array (resamples, n) or (resamples, n, k) for each group and gives (resamples,) values.
    Raises ValueError when a group is empty.
    """
    arrays = [np.asarray(group, float) for group in groups]
    if not arrays or not all(len(array) for array in arrays):
        raise ValueError("expected at least one value in each group")
    rng = np.random.default_rng(seed)
    drawn = [array[rng.integers(len(array), size=(resamples, len(array)))] for array in arrays]
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(statistic(drawn), [tail, 100.0 - tail])
    return float(low), float(high)


def paired_difference(
    first: Sequence[bool], second: Sequence[bool], confidence: float = 0.95
) -> dict[str, Any]:
    """Difference of two rates of the same subjects, with Bonett and Price's adjusted interval, which
    like McNemar's test depends on the pairs that differ (J. Educ. Behav. Stat. 37, 2012). Raises
    ValueError unless both are of the same length, and not empty."""
    if not first or len(first) != len(second):
        raise ValueError(f"expected pairs, got {len(first)} and {len(second)} values")
    gained = sum(a and not b for a, b in zip(first, second, strict=True))
    lost = sum(b and not a for a, b in zip(first, second, strict=True))
    pairs = len(first)
    p, q = (gained + 1.0) / (pairs + 2.0), (lost + 1.0) / (pairs + 2.0)
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    half = z * math.sqrt((p + q - (p - q) ** 2) / (pairs + 2.0))
    return {
        "difference": (gained - lost) / pairs,
        "interval": [max(-1.0, p - q - half), min(1.0, p - q + half)],
        "gained": gained,
        "lost": lost,
    }
