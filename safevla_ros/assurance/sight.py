"""Changes of what a policy sees that have nothing to do with the home: its cameras have moved, their
images are blurred, come late, or are lost on the way. Paint, light and materials are a scenario's
`looks`.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from safevla_ros.policy.interface import Observation
from safevla_ros.robot.state import Pose

CAMERA_SHIFT_M = 0.03
CAMERA_TURN_RAD = np.radians(3.0)
BLUR_SHARE = 0.0125
"""Standard deviation of the blur as a share of the image's edge: 1 pixel of 80."""
LATE_STEPS = 1
"""Images are of so many steps ago."""
DROP_RATE = 0.3
"""Chance that a frame is lost; the last one stays."""

CAMERA_CHANGES = ("camera_pose", "blur", "latency", "dropped_frames")

Images = Mapping[str, NDArray[np.uint8]]


def camera_moved(rng: np.random.Generator) -> Pose:
    """A camera that was bumped: shifted by CAMERA_SHIFT_M and turned by CAMERA_TURN_RAD, each in a
    direction of its own."""
    shift, axis = rng.normal(size=(2, 3))
    x, y, z = (CAMERA_SHIFT_M * shift / np.linalg.norm(shift)).tolist()
    half = CAMERA_TURN_RAD / 2.0
    qx, qy, qz = (np.sin(half) * axis / np.linalg.norm(axis)).tolist()
    return Pose((x, y, z), (qx, qy, qz, float(np.cos(half))))


class Sight:
    """What reaches the policy of what the cameras see, in one episode. `change`: one of
    CAMERA_CHANGES, `blind`, or anything else for all of it."""

    def __init__(self, change: str, seed: int) -> None:
        self._change = change
        self._rng = np.random.default_rng([seed, 31])
        self.camera_moved = Pose((0.0, 0.0, 0.0))
        """See `Rollout.camera_moved`."""
        if change == "camera_pose":
            self.camera_moved = camera_moved(self._rng)
        self._earlier: deque[Images] = deque(maxlen=LATE_STEPS + 1)

    def seen(self, observation: Observation) -> Observation:
        """The observation as the policy gets it. To be called once a step."""
        images = observation.images
        if self._change == "blind":
            images = {name: np.zeros_like(image) for name, image in images.items()}
        elif self._change == "blur":
            images = {name: _blurred(image) for name, image in images.items()}
        elif self._change == "latency":
            self._earlier.append(images)
            images = self._earlier[0]
        elif self._change == "dropped_frames":
            if self._earlier and self._rng.random() < DROP_RATE:
                images = self._earlier[0]
            self._earlier.clear()
            self._earlier.append(images)
        return dataclasses.replace(observation, images=images)


def _blurred(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    sigma = BLUR_SHARE * image.shape[0]
    return ndimage.gaussian_filter(image, (sigma, sigma, 0.0))
