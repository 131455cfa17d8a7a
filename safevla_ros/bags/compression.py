"""Images compressed for a bag: a sensor_msgs/Image as a CompressedImage, in image_transport's terms.

Stamp and frame_id stay. An alpha channel is left out: no camera means anything by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from safevla_ros.bags.own_messages import message_types, new_message, to_cdr
from safevla_ros.robot.profile import Compression

IMAGE = "sensor_msgs/msg/Image"
JPEG_QUALITY = 90
PNG_LEVEL = 1
"""zlib's fastest: twice its time buys a few hundredths of the size."""

_COLOURS = {"bgr8": None, "rgb8": cv2.COLOR_RGB2BGR} | {
    "rgba8": cv2.COLOR_RGBA2BGR,
    "bgra8": cv2.COLOR_BGRA2BGR,
}
_GREYS = {"mono8": np.uint8, "8UC1": np.uint8, "mono16": np.uint16, "16UC1": np.uint16}


def image_encoder(how: Compression) -> Callable[[bytes], bytes]:
    """What makes of the bytes of an Image those of a CompressedImage. It raises ValueError for an
    image that is damaged, or of an encoding that `how` cannot hold."""
    message_types()  # takes a while the first time
    flags = (
        [cv2.IMWRITE_JPEG_QUALITY, how.quality or JPEG_QUALITY]
        if how.format == "jpeg"
        else [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL]
    )

    def encode(data: bytes) -> bytes:
        try:
            image = message_types().deserialize_cdr(data, IMAGE)
        except Exception as error:  # rosbags raises many kinds on damaged bytes
            raise ValueError(f"no {IMAGE}: {error}") from error
        pixels = _pixels(image)
        if how.format == "jpeg" and pixels.dtype != np.uint8:
            raise ValueError(f"jpeg holds 8 bits a channel, not encoding {image.encoding!r}")
        try:
            done, coded = cv2.imencode("." + how.format, pixels, flags)
        except cv2.error as error:
            raise ValueError(f"an image of {image.width} x {image.height}: {error}") from error
        if not done:
            raise ValueError(f"an image of {image.width} x {image.height} cannot be encoded")
        target = "bgr8" if pixels.ndim == 3 else ""
        message = new_message(
            Compression.TYPE,
            header=image.header,
            format=f"{image.encoding}; {how.format} compressed {target}",
            data=coded.reshape(-1),
        )
        return to_cdr(message)

    return encode


def _pixels(image: Any) -> NDArray[Any]:
    """Pixels in the order that OpenCV writes: (H, W, 3) in bgr, or (H, W). Raises ValueError."""
    if image.encoding not in (*_COLOURS, *_GREYS):
        raise ValueError(
            f"expected one of the encodings {', '.join((*_COLOURS, *_GREYS))}, got {image.encoding!r}"
        )
    if not image.data.size or image.data.size != image.height * image.step:
        raise ValueError(
            f"{image.data.size} bytes, expected {image.height} rows of {image.step} bytes"
        )
    rows = np.ascontiguousarray(image.data.reshape(image.height, image.step))
    if image.encoding in _GREYS:
        kind = np.dtype(_GREYS[image.encoding]).newbyteorder(">" if image.is_bigendian else "<")
        row_bytes = image.width * kind.itemsize
        return np.ascontiguousarray(rows[:, :row_bytes]).view(kind).astype(kind.newbyteorder("="))
    channels = 4 if "a" in image.encoding else 3
    pixels = rows[:, : image.width * channels].reshape(image.height, image.width, channels)
    turn = _COLOURS[image.encoding]
    return pixels if turn is None else cv2.cvtColor(pixels, turn)
