"""The straightforward way to read a bag's images into tensors, as one writes it with rosbags and
OpenCV. `safevla bench bags` compares with it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from rosbags.highlevel import AnyReader


def read_images(bag: Path, topic: str, height: int, width: int) -> int:
    """Read the middle of every image of a topic as float32 (3, height, width) in 0 to 1, for images
    that are at least as wide as that; how many there were."""
    count = 0
    with AnyReader([bag]) as reader:
        connections = [each for each in reader.connections if each.topic == topic]
        for connection, _, data in reader.messages(connections=connections):
            message = reader.deserialize(data, connection.msgtype)
            if hasattr(message, "format"):
                picture = cv2.imdecode(message.data, cv2.IMREAD_COLOR)
            else:
                picture = message.data.reshape(message.height, message.width, 3)
            picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
            used = picture.shape[0] * width // height
            left = (picture.shape[1] - used) // 2
            picture = picture[:, left : left + used]
            picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
            tensor = picture.astype(np.float32).transpose(2, 0, 1) / 255.0
            count += tensor.shape[0] == 3
    return count
