"""Latency by stage, from the wall-clock times that commands carry (LatencyTrace)."""

from __future__ import annotations

from typing import Any

from safevla_ros.robot.messages import stamp_ns

STAGES = {
    "camera_to_observation": ("camera", "observation"),
    "observation_to_inference": ("observation", "inference_start"),
    "inference": ("inference_start", "inference_end"),
    "inference_to_candidate": ("inference_end", "candidate"),
    "candidate_to_gate": ("candidate", "gate_in"),
    "gate": ("gate_in", "command"),
    "camera_to_candidate": ("camera", "candidate"),
    "camera_to_command": ("camera", "command"),
}
"""Fields of LatencyTrace at both ends of each stage."""


def stages_ms(trace: Any) -> dict[str, float]:
    """Durations [ms] of a LatencyTrace's stages, without those of which an end is missing."""
    found = {}
    for stage, (begin, end) in STAGES.items():
        began, ended = stamp_ns(getattr(trace, begin)), stamp_ns(getattr(trace, end))
        if began and ended:
            found[stage] = (ended - began) / 1e6
    return found
