"""Image messages of arrays."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image


def image_message(header: Any, pixels: NDArray[np.uint8]) -> Image:
    """An Image of (height, width, 3) rgb8 pixels, contiguous in memory."""
    height, width = pixels.shape[:2]
    message = Image(header=header, encoding="rgb8", height=height, width=width, step=3 * width)
    # An array filled in place: of all ways to set the data, those that rclpy has to check take
    # a thousand times longer.
    message.data = array.array("B")
    message.data.frombytes(pixels.data)
    return message
