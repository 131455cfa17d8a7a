"""Images of a robot's cameras, and how they become what a policy sees.

There is one way, `policy_picture`, for a camera that is live, a bag and a foreign robot's bag alike,
so that a policy is shown and taught the same pictures. Pictures are rgb8 arrays (height, width, 3).
Messages are sensor_msgs Image and CompressedImage, from DDS or from a bag.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
AT_ONCE_PX = 320 * 240
"""An image of which no more pixels are used is made smaller by area at once."""

_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}
_TO_RGB = {
    "bgr8": cv2.COLOR_BGR2RGB,
    "rgba8": cv2.COLOR_RGBA2RGB,
    "bgra8": cv2.COLOR_BGRA2RGB,
    "mono8": cv2.COLOR_GRAY2RGB,
}
_REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    1: cv2.IMREAD_COLOR,
}
"""By what a JPEG can be made smaller while it is decoded."""


def policy_picture(message: Any, height: int, width: int, rotate_deg: int = 0) -> Picture:
    """What a policy sees of an image: its middle, (height, width, 3).

    The image is turned clockwise by `rotate_deg`, a multiple of 90, cropped to the aspect ratio that
    is asked for, and made smaller by area, as `Resize` has it; of a JPEG the first part of that is
    left to its decoder. One that has this size is returned as it is, and may share memory with the
    message. Raises ValueError when it cannot be read.
    """
    turn = Turn(rotate_deg)
    before = turn.size(height, width)
    pixels, encoding, reduced = _pixels(message, before)
    resize = Resize(reduced * pixels.shape[0], reduced * pixels.shape[1], *before)
    # Colours and turning last, when little is left of the image.
    small = resize.image(pixels, reduced)
    return np.ascontiguousarray(turn.image(_rgb(small, encoding)))


def read_image(message: Any) -> Picture:
    """An image at its full size, as a camera gave it. Raises ValueError when it cannot be read."""
    pixels, encoding, _ = _pixels(message)
    return _rgb(pixels, encoding)


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

    def block(self) -> int:
        """The largest whole factor by which the part that is used can be divided and still be as
        large as the target; 1: there is none, or little to save."""
        _, _, width, height = self.crop()
        if width * height <= AT_ONCE_PX:
            return 1
        factors = range(min(width // self.width, height // self.height), 1, -1)
        return next((f for f in factors if width % f == 0 and height % f == 0), 1)

    def image(self, source: NDArray[np.uint8], reduced: int = 1) -> NDArray[np.uint8]:
        """(height, width, C) of a (source_height, source_width, C) image, or of one that was made
        smaller already, by a factor that divides all of `crop` and `block`; may share its memory.

        Of a large image means of square blocks come first. The little that remains after them is
        interpolated: that is up to six times as fast as by area at once and nearer to it, though a
        little softer, than by area again.
        """
        left, top, width, height = (number // reduced for number in self.crop())
        part = source[top : top + height, left : left + width]
        block = max(self.block() // reduced, 1)  # a JPEG that says it lies on its side
        size = width // block, height // block
        if block > 1:
            part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
        if size == (self.width, self.height):
            return part
        is_little = (
            block * reduced > 1 and 2 * size[0] < 3 * self.width and 2 * size[1] < 3 * self.height
        )
        how = cv2.INTER_LINEAR if is_little else cv2.INTER_AREA
        return np.asarray(cv2.resize(part, (self.width, self.height), interpolation=how), np.uint8)

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


def _pixels(message: Any, wanted: tuple[int, int] | None = None) -> tuple[Picture, str, int]:
    """Pixels (H, W, C), their encoding, and the factor by which they are smaller than the image.
    `wanted`: the height and width that they are resized to next, for which a JPEG may be decoded
    smaller. Raises ValueError."""
    data = np.frombuffer(message.data, np.uint8)
    if not data.size:
        raise ValueError("it has no data")
    if hasattr(message, "format"):
        factor = 1 if wanted is None else _reduction(data, *wanted)
        return _decoded(data, factor), "bgr8", factor
    encoding, height, width = str(message.encoding), int(message.height), int(message.width)
    if encoding not in _CHANNELS:
        expected = ", ".join(sorted(_CHANNELS))
        raise ValueError(f"encoding {encoding!r}: expected one of {expected}")
    step, columns = int(message.step), width * _CHANNELS[encoding]
    if height < 1 or not 0 < columns <= step or data.size < height * step:
        raise ValueError(
            f"{data.size} bytes in rows of {step} do not hold {width} x {height} pixels of {encoding}"
        )
    rows = data[: height * step].reshape(height, step)[:, :columns]
    return rows.reshape(height, width, _CHANNELS[encoding]), encoding, 1


def _rgb(pixels: Picture, encoding: str) -> Picture:
    if encoding == "rgb8":
        return pixels
    return np.asarray(cv2.cvtColor(pixels, _TO_RGB[encoding]), np.uint8)


def _decoded(data: NDArray[np.uint8], factor: int) -> Picture:
    """A JPEG or PNG in bgr, smaller by a factor. Raises ValueError."""
    try:
        found = cv2.imdecode(data, _REDUCED[factor])
    except cv2.error as error:
        raise ValueError(f"it cannot be decoded: {error}") from error
    if found is None:
        raise ValueError(f"{data.size} bytes that are not a JPEG or PNG image")
    return np.asarray(found, np.uint8)


def _reduction(data: NDArray[np.uint8], height: int, width: int) -> int:
    """The factor by which a JPEG is decoded smaller that a Resize to this size comes after: a part of
    the blocks that it takes the means of, and without moving its middle."""
    size = _jpeg_size(data)
    if size is None:
        return 1
    resize = Resize(*size, height, width)
    must_divide = (*size, *resize.crop(), resize.block())
    return next(f for f in _REDUCED if all(number % f == 0 for number in must_divide))


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
