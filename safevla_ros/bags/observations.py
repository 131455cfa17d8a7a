"""The observations of a bag, by their stamps.

Nearly all of their bytes are pictures, and decoding those would take a hundred times as long as
reading a stamp. So only the first observation is decoded and looked at, and each whose size is
another than that of the last one that was looked at: a picture without pixels makes it smaller.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safevla_ros.bags import BagError, RawMessage
from safevla_ros.bags.reader import Bag, Location
from safevla_ros.robot.state import NANOSECONDS


class Observations:
    """What a policy saw, found by time. Add all of a bag's, then `sort`, then ask."""

    def __init__(self, bag: Bag) -> None:
        self._bag = bag
        self._found: list[tuple[int, Location]] = []
        self._sound_size = -1
        self._unstamped = 0

    def add(self, location: Location, raw: RawMessage) -> None:
        """Take the next observation. Raises BagError when it, or a picture in it, cannot be read, or
        when it has no stamp to be found by: one may be of time 0, where simulated time begins."""
        stamp = _stamp(raw)
        if stamp == 0:
            self._unstamped += 1
            if self._unstamped > 1:
                raise BagError("observation: expected a stamp, got 0")
        if len(raw.data) != self._sound_size:
            for image in self._bag.decode(raw).images:
                rgb8_picture(image)
            self._sound_size = len(raw.data)
        self._found.append((stamp, location))

    def sort(self) -> None:
        """Order them by stamp. Where several say 0, none was taken at that time."""
        if self._unstamped > 1:
            self._found = [found for found in self._found if found[0] != 0]
        self._found.sort(key=lambda found: found[0])

    def up_to(self, stamp_ns: int) -> tuple[int, Location] | None:
        """Stamp [ns] and place of the last one up to a time; None: there is none."""
        index = bisect_right(self._found, stamp_ns, key=lambda found: found[0])
        return self._found[index - 1] if index else None


def rgb8_picture(image: Any) -> NDArray[np.uint8]:
    """A picture of an Observation (H, W, 3), which is rgb8 at the policy's resolution. Raises
    BagError on any other, and on one without pixels."""
    data = np.asarray(image.data, np.uint8)
    if image.encoding != "rgb8" or data.size != image.height * image.width * 3 or not data.size:
        raise BagError(
            f"observation: expected an rgb8 image of {image.width} x {image.height}, got "
            f"{data.size} bytes of {image.encoding!r}"
        )
    return data.reshape(image.height, image.width, 3)


def _stamp(raw: RawMessage) -> int:
    """Stamp [ns] of a message that begins with a header, from its first bytes. Raises BagError."""
    if len(raw.data) < 12:
        raise BagError(f"topic {raw.topic}: {len(raw.data)} bytes, too short for a header")
    layout = "<iI" if raw.data[1] == 1 else ">iI"  # the second byte of CDR tells the byte order
    seconds, nanoseconds = struct.unpack_from(layout, raw.data, 4)
    return int(seconds) * NANOSECONDS + int(nanoseconds)
