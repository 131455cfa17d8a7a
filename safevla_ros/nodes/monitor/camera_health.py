"""What is wrong with what policies see, as camera_ingest tells it."""

from __future__ import annotations

import time

from safevla_ros.msg import CameraStatus
from safevla_ros.nodes import topics
from safevla_ros.nodes.lifecycle import GraphNode
from safevla_ros.safety.decisions import Reason

SILENCE_S = 1.0
"""Without a CameraStatus for so long, who makes them does not run any more."""


class CameraHealth:
    """The latest CameraStatus. Where none was ever heard, policies get their images elsewhere, and
    nothing is known to be wrong. Times: steady clock [s]."""

    def __init__(self, node: GraphNode) -> None:
        self._status: CameraStatus | None = None
        self._heard_s = 0.0
        node.subscription(CameraStatus, topics.CAMERA_STATUS, self._on_status, topics.reliable(1))

    def fault(self) -> tuple[Reason, str] | None:
        """What is wrong, for the gate."""
        status = self._status
        if status is None:
            return None
        silent_s = time.monotonic() - self._heard_s
        if silent_s > SILENCE_S:
            return Reason.LOST_CAMERA, f"nothing on {topics.CAMERA_STATUS} for {silent_s:.1f} s"
        names = status.camera_names
        for reason, flags, word in (
            (Reason.FROZEN_CAMERA, status.frozen, "repeats its pixels"),
            (Reason.LOST_CAMERA, status.lost, "gives no frames"),
        ):
            cameras = [name for name, flag in zip(names, flags, strict=False) if flag]
            if cameras:
                return reason, f"camera {', '.join(cameras)} {word}"
        return None

    def _on_status(self, message: CameraStatus) -> None:
        self._status, self._heard_s = message, time.monotonic()
