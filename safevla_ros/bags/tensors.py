"""Images of a bag's topic as tensors: what a policy sees of them, channels first."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from safevla_ros.bags.reader import Bag
from safevla_ros.robot.pictures import policy_picture


def read_tensors(
    bag: Bag, topic: str, height: int, width: int, *, rotate_deg: int = 0
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Time of receipt [ns] and picture, uint8 (3, height, width) in rgb, of each image of a topic,
    as `policy_picture` makes them. Images that cannot be read are left out, and named in the bag's
    `damage`."""
    for raw, message in bag.decoded([topic]):
        try:
            picture = policy_picture(message, height, width, rotate_deg)
        except ValueError as error:
            sentence = f"{bag.path}: topic {topic}: an image was left out: {error}"
            if sentence not in bag.damage:
                bag.damage.append(sentence)
            continue
        yield raw.log_time_ns, np.ascontiguousarray(picture.transpose(2, 0, 1))
