"""Latency by stage from the wall-clock times that commands carry (LatencyTrace)."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from safevla_ros.assurance.latency import STAGES, stages_ms


class LatencyWindow:
    """The last traces, for /diagnostics."""

    def __init__(self, size: int = 200) -> None:
        self._ms: dict[str, deque[float]] = {stage: deque(maxlen=size) for stage in STAGES}

    def add(self, trace: Any) -> None:
        """Take in a LatencyTrace; stages of which an end is missing are left out."""
        for stage, value in stages_ms(trace).items():
            self._ms[stage].append(value)

    def percentiles(self) -> dict[str, float]:
        """`latency_ms.<stage>.p50`, p95 and p99 of the stages that were seen."""
        found: dict[str, float] = {}
        for stage, values in self._ms.items():
            if values:
                for percent in (50, 95, 99):
                    value = float(np.percentile(values, percent))
                    found[f"latency_ms.{stage}.p{percent}"] = round(value, 2)
        return found
