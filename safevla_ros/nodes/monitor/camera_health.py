"""What is wrong with what policies see, as camera_ingest tells it."""

from __future__ import annotations

from typing import Any

from safevla_ros.nodes.monitor.readers import camera_fault
from safevla_ros.robot.messages import MessageError
from safevla_ros.safety.decisions import Reason

SILENCE_S = 1.0
"""Without a CameraStatus for so long, who makes them does not run any more."""


class CameraHealth:
    """The latest CameraStatus. Where none was ever heard, policies get their images elsewhere, and
    nothing is known to be wrong. One that cannot be read vouches for no camera. Times: steady clock
    [s]."""

    def __init__(self) -> None:
        self._fault: tuple[Reason, str] | None = None
        self._heard_s: float | None = None

    def hear(self, message: Any, now_s: float) -> None:
        """A CameraStatus came."""
        self._heard_s = now_s
        try:
            self._fault = camera_fault(message)
        except MessageError as error:
            self._fault = Reason.LOST_CAMERA, f"camera_status: {error}"

    def fault(self, now_s: float) -> tuple[Reason, str] | None:
        """What is wrong, for the gate."""
        silent_s = 0.0 if self._heard_s is None else now_s - self._heard_s
        if silent_s > SILENCE_S:
            return Reason.LOST_CAMERA, f"nothing on camera_status for {silent_s:.1f} s"
        return self._fault
