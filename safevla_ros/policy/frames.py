"""Frames of several cameras as one observation: which belong together, and which are frozen."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

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
