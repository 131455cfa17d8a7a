"""Two sets of episodes against each other, in pairs of the same task and home."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safevla_ros.assurance.metrics import by_task
from safevla_ros.assurance.records import EpisodeRecord
from safevla_ros.assurance.statistics import bootstrap_interval, paired_difference, wilson_interval

_BEYOND = 1e12


def compared(
    records: Sequence[EpisodeRecord], others: Sequence[EpisodeRecord], specification: str
) -> dict[str, Any] | None:
    """How `records` differ from `others`; None where no task and home is in both.

    `success_difference` and its interval (Bonett and Price's for paired rates); `cost_difference`
    and `cost_ratio` of the costs summed over tasks, resampled in pairs; `above_median`: share of the
    episodes that cost more than the median of the others of their task.
    """
    pairs = matched(records, others)
    if not pairs:
        return None
    first, second = (list(side) for side in zip(*pairs, strict=True))
    cost = _costs(pairs, specification)
    mean = [np.mean(group, axis=0) for group in cost]
    sums = np.sum(mean, axis=0)
    above = [float((group[:, 0] > np.median(group[:, 1])).sum()) for group in cost]
    return {
        "pairs": len(pairs),
        "success_difference": paired_difference(
            [record.success for record in first], [record.success for record in second]
        ),
        "cost_difference": {
            "sum": float(sums[0] - sums[1]),
            "interval": list(bootstrap_interval(cost, _summed(np.subtract))),
        },
        "cost_ratio": {
            "ratio": float(sums[0] / sums[1]) if sums[1] else None,
            "interval": _finite(bootstrap_interval(cost, _summed(_ratio))) if sums[1] else None,
        },
        "above_median": {
            "rate": sum(above) / len(pairs),
            "interval": list(wilson_interval(int(sum(above)), len(pairs))),
        },
    }


def told(found: Mapping[str, Any]) -> str:
    """What `compared` found, in words."""
    success, ratio = found["success_difference"], found["cost_ratio"]
    low, high = (100.0 * bound for bound in success["interval"])
    times = "-"
    if ratio["ratio"] is not None:
        bounds = ["-" if bound is None else f"{bound:.2f}" for bound in ratio["interval"]]
        times = f"{ratio['ratio']:.2f} ({bounds[0]} to {bounds[1]})"
    return (
        f"in {found['pairs']} pairs of the same home and task: success "
        f"{100.0 * success['difference']:+.1f} points ({low:+.1f} to {high:+.1f}), summed cost "
        f"{times} times"
    )


def matched(
    records: Sequence[EpisodeRecord], others: Sequence[EpisodeRecord]
) -> list[tuple[EpisodeRecord, EpisodeRecord]]:
    """Pairs of the same task and home."""
    known = {record.home: record for record in others}
    return [(record, known[record.home]) for record in records if record.home in known]


def _costs(
    pairs: Sequence[tuple[EpisodeRecord, EpisodeRecord]], specification: str
) -> list[NDArray[np.float64]]:
    """Of each task (n, 2): the cost of an episode on either side."""
    tasks = by_task([record for record, _ in pairs])
    return [
        np.array(
            [
                [record.under(specification).cost for record in pair]
                for pair in pairs
                if pair[0].task == task
            ]
        )
        for task in tasks
    ]


def _finite(interval: tuple[float, float]) -> list[float | None]:
    """None: beyond every number."""
    return [bound if bound < _BEYOND / 10.0 else None for bound in interval]


def _ratio(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    # A draw in which the others cost nothing has no ratio; it is as bad as they come.
    return np.where(second > 0.0, first / np.maximum(second, 1e-12), _BEYOND)


def _summed(
    combine: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
) -> Callable[[Sequence[NDArray[np.float64]]], NDArray[np.float64]]:
    """Of draws (resamples, n, 2) of each task: both sides' sums over tasks, combined."""

    def statistic(drawn: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        sums = np.sum([group.mean(axis=1) for group in drawn], axis=0)
        return combine(sums[:, 0], sums[:, 1])

    return statistic
