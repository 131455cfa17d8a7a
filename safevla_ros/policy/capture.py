"""Frames from what OpenCV opens: a camera at this computer, a video file, a stream."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


class CaptureError(ValueError):
    """Something that cannot be opened; the message says what."""


class Capture:
    """Reads frames one after another. `source`: a device number, the path of a device or of a video
    file, or a URL. Raises CaptureError when it cannot be opened."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._is_file = Path(source).is_file()
        self._open()

    def _open(self) -> None:
        self._capture = cv2.VideoCapture(int(self.source) if self.source.isdigit() else self.source)
        if not self._capture.isOpened():
            raise CaptureError(
                f"{self.source!r}: expected a camera, a video file or a stream that OpenCV can open"
            )
        # The newest frame, not one that waited: a driver would queue several.
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        rate_hz = self._capture.get(cv2.CAP_PROP_FPS)
        self._period_s = 1.0 / rate_hz if self._is_file and rate_hz > 0.0 else 0.0
        self._next_s = time.monotonic()

    def read(self) -> NDArray[np.uint8] | None:
        """The next frame (height, width, 3) rgb8; waits for it. A file plays at its own rate. None
        when there is none: the file is at its end, or the camera is gone."""
        good, frame = self._capture.read()
        if not good:
            return None
        self._next_s = max(self._next_s + self._period_s, time.monotonic() - self._period_s)
        time.sleep(max(self._next_s - time.monotonic(), 0.0))
        return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)

    def reopen(self) -> bool:
        """Try again after `read` gave None; whether it can be read from now on. A file that is at
        its end stays there."""
        if self._is_file:
            return False
        self._capture.release()
        try:
            self._open()
        except CaptureError:
            return False
        return True

    def close(self) -> None:
        """Give the device back."""
        self._capture.release()
