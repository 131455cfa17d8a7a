"""Pictures of a bag as they go into a policy: small, rgb, channels first.

The order of work is what makes it fast: a JPEG is decoded at half or a quarter of its size where
that is still large enough, colours are turned after resizing, and nothing becomes a float here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from safevla_ros.bags.pictures import Picture, raw_pixels, read_image
from safevla_ros.bags.reader import Bag

_REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
}


def read_tensors(
    bag: Bag, topic: str, height: int, width: int
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Time of receipt [ns] and picture, uint8 (3, height, width) in rgb, of each image of a topic.
    Images that cannot be read are left out, and named in the bag's `damage`."""
    for raw, message in bag.decoded([topic]):
        tensor = _tensor_or_report(bag, topic, message, height, width)
        if tensor is not None:
            yield raw.log_time_ns, tensor


def _tensor_or_report(
    bag: Bag, topic: str, message: Any, height: int, width: int
) -> NDArray[np.uint8] | None:
    try:
        return to_tensor(message, height, width)
    except (ValueError, cv2.error) as error:
        sentence = f"{bag.path}: topic {topic}: an image was left out: {error}"
        if sentence not in bag.damage:
            bag.damage.append(sentence)
        return None


def to_tensor(message: Any, height: int, width: int) -> NDArray[np.uint8]:
    """One Image or CompressedImage as uint8 (3, height, width) in rgb. Raises ValueError or
    cv2.error."""
    if hasattr(message, "format"):
        picture = _decoded(np.asarray(message.data, np.uint8), height, width)
        turn = True
    elif message.encoding == "bgr8":
        picture, turn = raw_pixels(message, 3), True
    else:
        picture, turn = read_image(message), False
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    if turn:
        small = cv2.cvtColor(small, cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(small.transpose(2, 0, 1), dtype=np.uint8)


def _decoded(data: NDArray[np.uint8], height: int, width: int) -> Picture:
    """A JPEG or PNG in bgr, no larger than needed."""
    if not data.size:
        raise ValueError("it has no data")
    for factor in _factors(data, height, width):
        found = cv2.imdecode(data, _REDUCED[factor])
        if found is not None:
            return np.asarray(found, np.uint8)
    found = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if found is None:
        raise ValueError("it cannot be decoded")
    return np.asarray(found, np.uint8)


def _factors(data: NDArray[np.uint8], height: int, width: int) -> list[int]:
    """By what a JPEG can be reduced as it is decoded and still be as large as asked for."""
    size = _jpeg_size(data)
    if size is None:
        return []
    return [f for f in _REDUCED if size[0] // f >= height and size[1] // f >= width][:1]


def _jpeg_size(data: NDArray[np.uint8]) -> tuple[int, int] | None:
    """Height and width in a JPEG's frame header; None: this is no JPEG."""
    head = bytes(data[:4096])
    if head[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 < len(head) and head[at] == 0xFF:
        marker, length = head[at + 1], int.from_bytes(head[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return (
                int.from_bytes(head[at + 5 : at + 7], "big"),
                int.from_bytes(head[at + 7 : at + 9], "big"),
            )
        at += 2 + length
    return None
