"""Image messages from and to arrays."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from safevla_ros.policy.frames import decode, to_rgb


def pixels_of(message: Any) -> NDArray[np.uint8]:
    """(height, width, 3) rgb8 of an Image or CompressedImage. Raises ValueError."""
    if isinstance(message, CompressedImage):
        return decode(message.data)
    return to_rgb(message.data, message.encoding, message.height, message.width, message.step)


def image_message(header: Any, pixels: NDArray[np.uint8]) -> Image:
    """An Image of (height, width, 3) rgb8 pixels, contiguous in memory."""
    height, width = pixels.shape[:2]
    message = Image(header=header, encoding="rgb8", height=height, width=width, step=3 * width)
    # An array filled in place: of all ways to set the data, those that rclpy has to check take
    # a thousand times longer.
    message.data = array.array("B")
    message.data.frombytes(pixels.data)
    return message
