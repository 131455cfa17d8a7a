"""Latency by stage from the wall-clock times that commands carry (LatencyTrace)."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from safevla_ros.robot.messages import stamp_ns

STAGES = {
    "camera_to_observation": ("camera", "observation"),
    "observation_to_inference": ("observation", "inference_start"),
    "inference": ("inference_start", "inference_end"),
    "inference_to_candidate": ("inference_end", "candidate"),
    "candidate_to_gate": ("candidate", "gate_in"),
    "gate": ("gate_in", "command"),
    "camera_to_command": ("camera", "command"),
}
"""Fields of LatencyTrace at both ends of each stage."""


class LatencyWindow:
    """The last traces, for /diagnostics."""

    def __init__(self, size: int = 200) -> None:
        self._ms: dict[str, deque[float]] = {stage: deque(maxlen=size) for stage in STAGES}

    def add(self, trace: Any) -> None:
        """Take in a LatencyTrace; stages of which an end is missing are left out."""
        for stage, (begin, end) in STAGES.items():
            began, ended = stamp_ns(getattr(trace, begin)), stamp_ns(getattr(trace, end))
            if began and ended:
                self._ms[stage].append((ended - began) / 1e6)

    def percentiles(self) -> dict[str, float]:
        """`latency_ms.<stage>.p50`, p95 and p99 of the stages that were seen."""
        found: dict[str, float] = {}
        for stage, values in self._ms.items():
            if values:
                for percent in (50, 95, 99):
                    value = float(np.percentile(values, percent))
                    found[f"latency_ms.{stage}.p{percent}"] = round(value, 2)
        return found
