"""From camera frames to the images of an observation: pairing, cropping, resizing, frozen pixels.

Pure functions and small objects, so that a bag is prepared for training exactly as the robot's
frames are for inference. Images are rgb8 arrays (height, width, 3).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


RESTART_NS = 500_000_000
"""A stamp that lies this far behind the newest one is of a clock that was set back."""


class FramePairer(Generic[T]):
    """Picks one frame of every camera such that their stamps differ by at most the tolerance.

    A set is given out as soon as its last frame arrives, and the newest set wins: frames older
    than those given out are dropped. Cameras may run at different rates; at most `depth` frames of
    each are kept.
    """

    def __init__(self, cameras: Sequence[str], tolerance_ns: int, depth: int = 8) -> None:
        self._frames: dict[str, deque[tuple[int, T]]] = {
            name: deque(maxlen=depth) for name in cameras
        }
        self._tolerance_ns = tolerance_ns
        self._newest_ns = dict.fromkeys(cameras, -1)
        self.late = dict.fromkeys(cameras, 0)

    def add(self, camera: str, stamp_ns: int, frame: T) -> dict[str, tuple[int, T]] | None:
        """Take a frame; return (stamp [ns], frame) by camera if it completes a set.

        A frame that is not newer than the camera's newest one is late, and dropped. If it is older
        by more than RESTART_NS it starts that camera anew: driver or clock were restarted.
        """
        frames = self._frames[camera]
        behind_ns = self._newest_ns[camera] - stamp_ns
        if 0 <= behind_ns < RESTART_NS:
            self.late[camera] += 1
            return None
        if behind_ns >= RESTART_NS:
            frames.clear()
        self._newest_ns[camera] = stamp_ns
        frames.append((stamp_ns, frame))
        chosen = {
            name: min(kept, key=lambda item: abs(item[0] - stamp_ns))
            for name, kept in self._frames.items()
            if kept
        }
        stamps = [stamp for stamp, _ in chosen.values()]
        if len(chosen) < len(self._frames) or max(stamps) - min(stamps) > self._tolerance_ns:
            return None
        for name, (stamp, _) in chosen.items():
            kept = self._frames[name]
            while kept and kept[0][0] <= stamp:
                kept.popleft()
        return chosen


class FreezeDetector:
    """Tells that a camera repeats its pixels under fresh stamps: a driver that hangs.

    A live sensor has noise, so identical pixels in a row mean that nothing new was seen.
    `repeats`: identical successors after which the camera counts as frozen.
    """

    def __init__(self, repeats: int) -> None:
        self._repeats = repeats
        self._count = 0
        self._last: object = None

    def __call__(self, pixels: object) -> bool:
        """Whether the camera is frozen. `pixels`: the message's data, compared as a whole; the
        comparison stops at the first difference, so a live camera costs nothing."""
        self._count = self._count + 1 if pixels == self._last else 0
        self._last = pixels
        return self._count >= self._repeats


@dataclass(frozen=True, slots=True)
class Resize:
    """Crops the middle of an image to the aspect ratio of the target, then resizes by area.

    Cropping rather than squeezing keeps shapes as they are and, for a target that is narrower than
    the source, the whole vertical field of view. Sizes in pixels.
    """

    source_height: int
    source_width: int
    height: int
    width: int

    def crop(self) -> tuple[int, int, int, int]:
        """(left, top, width, height) of the part of the source that is used."""
        width = min(self.source_width, round(self.source_height * self.width / self.height))
        height = min(self.source_height, round(self.source_width * self.height / self.width))
        return (self.source_width - width) // 2, (self.source_height - height) // 2, width, height

    def image(self, source: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(height, width, 3) of a (source_height, source_width, 3) image; may share its memory."""
        left, top, width, height = self.crop()
        part = source[top : top + height, left : left + width]
        if (height, width) == (self.height, self.width):
            return np.ascontiguousarray(part)
        return cv2.resize(part, (self.width, self.height), interpolation=cv2.INTER_AREA)

    def intrinsics(
        self, fx: float, fy: float, cx: float, cy: float
    ) -> tuple[float, float, float, float]:
        """Focal lengths and principal point [px] of the result, for those of the source. Pixel
        centres are at whole numbers, as in CameraInfo."""
        left, top, width, height = self.crop()
        sx, sy = self.width / width, self.height / height
        return fx * sx, fy * sy, (cx - left + 0.5) * sx - 0.5, (cy - top + 0.5) * sy - 0.5


@dataclass(frozen=True, slots=True)
class Turn:
    """Turns an image clockwise by `degrees`, a multiple of 90. Sizes are the source's, in pixels."""

    degrees: int

    def image(self, source: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(height, width, 3) to (width, height, 3) for 90 and 270 degrees; shares its memory."""
        return np.rot90(source, k=-self.degrees // 90)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the result."""
        return (width, height) if self.degrees % 180 else (height, width)

    def intrinsics(
        self, fx: float, fy: float, cx: float, cy: float, height: int, width: int
    ) -> tuple[float, float, float, float]:
        """Focal lengths and principal point [px] of the result, as in Resize."""
        for _ in range(self.degrees // 90):
            fx, fy, cx, cy = fy, fx, height - 1 - cy, cx
            height, width = width, height
        return fx, fy, cx, cy


def to_rgb(
    data: object, encoding: str, height: int, width: int, row_bytes: int
) -> NDArray[np.uint8]:
    """Raw pixels of an Image message as (height, width, 3) rgb8, without a copy where possible.

    `row_bytes`: the message's step. Raises ValueError on an encoding or size it cannot read.
    """
    channels = _CHANNELS.get(encoding)
    if channels is None:
        raise ValueError(f"encoding {encoding!r}: expected one of {', '.join(sorted(_CHANNELS))}")
    flat = np.frombuffer(data, np.uint8)  # type: ignore[call-overload]
    if height < 1 or width < 1 or row_bytes < width * channels or flat.size < row_bytes * height:
        raise ValueError(
            f"{width}x{height} {encoding} with {row_bytes} bytes a row: got {flat.size} bytes"
        )
    rows = flat[: row_bytes * height].reshape(height, row_bytes)[:, : width * channels]
    pixels = rows.reshape(height, width, channels)
    if encoding == "rgb8":
        return pixels
    return cv2.cvtColor(pixels, _TO_RGB[encoding])


def decode(data: object) -> NDArray[np.uint8]:
    """Pixels of a CompressedImage message (JPEG or PNG) as (height, width, 3) rgb8.

    Raises ValueError when it is not an image.
    """
    flat = np.frombuffer(data, np.uint8)  # type: ignore[call-overload]
    bgr = cv2.imdecode(flat, cv2.IMREAD_COLOR) if flat.size else None
    if bgr is None:
        raise ValueError(f"{flat.size} bytes that are not a JPEG or PNG image")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}
_TO_RGB = {
    "bgr8": cv2.COLOR_BGR2RGB,
    "rgba8": cv2.COLOR_RGBA2RGB,
    "bgra8": cv2.COLOR_BGRA2RGB,
    "mono8": cv2.COLOR_GRAY2RGB,
}
