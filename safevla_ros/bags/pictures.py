"""Images of any robot as rgb arrays."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

_CONVERSIONS = {
    "bgr8": cv2.COLOR_BGR2RGB,
    "rgba8": cv2.COLOR_RGBA2RGB,
    "bgra8": cv2.COLOR_BGRA2RGB,
    "mono8": cv2.COLOR_GRAY2RGB,
}


def read_image(message: Any) -> Picture:
    """A sensor_msgs Image or CompressedImage as rgb (H, W, 3). Raises ValueError or cv2.error."""
    if hasattr(message, "format"):
        data = np.asarray(message.data, np.uint8)
        if not data.size:
            raise ValueError("it has no data")
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
        if decoded is None:
            raise ValueError(f"it cannot be decoded as {message.format!r}")
        return _rgb(decoded, "bgr8")
    channels = {"mono8": 1, "rgba8": 4, "bgra8": 4}.get(message.encoding, 3)
    if message.encoding not in ("rgb8", *_CONVERSIONS):
        raise ValueError(f"expected colours of 8 bits, got encoding {message.encoding!r}")
    return _rgb(raw_pixels(message, channels), message.encoding)


def raw_pixels(message: Any, channels: int) -> Picture:
    """The pixels (H, W, channels) of a sensor_msgs Image as they are. Raises ValueError."""
    data = np.asarray(message.data, np.uint8)
    if not data.size:
        raise ValueError("it has no data")
    columns = message.width * channels
    if not 0 < columns <= message.step:
        raise ValueError(f"its rows of {message.step} bytes do not hold {message.width} pixels")
    rows = data.reshape(message.height, message.step)[:, :columns]
    return rows.reshape(message.height, message.width, channels)


def _rgb(picture: Picture, encoding: str) -> Picture:
    if encoding == "rgb8":
        return picture
    return np.asarray(cv2.cvtColor(picture, _CONVERSIONS[encoding]), np.uint8)
