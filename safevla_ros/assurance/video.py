"""The run as a video: the cameras side by side, at their own rate, with what it cost written on.

H.264 in 4:2:0, so that browsers play it. Pictures are placed by their stamps: where a camera was
silent its last picture stays, so a second of the video is a second of the run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from safevla_ros.assurance import colours
from safevla_ros.assurance.overlay import HEADER_PX, Overlay, label
from safevla_ros.assurance.run_log import RunLog
from safevla_ros.bags.reader import Bag
from safevla_ros.robot.messages import stamp_ns
from safevla_ros.robot.pictures import Picture, read_image
from safevla_ros.robot.state import NANOSECONDS

CAMERA_PX = 480
LEAST_WIDTH_PX = 960
GAP_PX = 4
BORDER_PX = 4
SLOWEST_HZ, FASTEST_HZ = 1, 60
LAST_PICTURE_S = 1.5
"""So long the last picture stays, with the outcome in the header."""


class VideoError(ValueError):
    """Why there is no video, in a sentence."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture (H, W, 3) of one camera, rgb."""

    stamp_ns: int
    camera: str
    picture: Picture


def write_video(bag: Bag, log: RunLog, path: Path) -> None:
    """Write the video. Raises VideoError when the bag has no pictures of the run."""
    stamps = log.camera_stamps
    if not any(stamps.values()):
        raise VideoError("no video: the bag holds no camera images of the run")
    rate_hz = _rate_hz(stamps)
    begin_ns = min(min(of_one) for of_one in stamps.values() if of_one)
    period_ns = NANOSECONDS // rate_hz
    sheet = _Sheet(log)
    container = stream = None
    try:
        number = 0
        for shot in _shots(bag, log):
            if container is None:
                sheet.lay_out(shot.picture)
                container = av.open(str(path), "w", options={"movflags": "+faststart"})
                stream = add_stream(container, rate_hz, sheet.width, sheet.height)
            # A frame shows what was seen up to half a period after its time, so that two cameras
            # that take their pictures together are seen together.
            while begin_ns + number * period_ns + period_ns // 2 < shot.stamp_ns:
                encode(container, stream, sheet.frame(begin_ns + number * period_ns), number)
                number += 1
            sheet.show(shot)
        if container is None or stream is None:
            raise VideoError("no video: none of the bag's camera images can be read")
        last_ns = max(log.end_ns, begin_ns + number * period_ns)
        for _ in range(round(LAST_PICTURE_S * rate_hz)):
            encode(container, stream, sheet.frame(last_ns), number)
            number += 1
        container.mux(stream.encode())
    finally:
        if container is not None:
            container.close()


def add_stream(container: Any, rate_hz: int, width: int, height: int) -> Any:
    """A stream of pictures of that size [px] in a container of PyAV."""
    stream = container.add_stream("libx264", rate=rate_hz)
    stream.width, stream.height = width, height
    stream.pix_fmt = "yuv420p"
    stream.options = {"preset": "superfast", "crf": "25"}
    return stream


def encode(container: Any, stream: Any, frame: Picture, number: int) -> None:
    """Add a picture (H, W, 3) as the frame of that number."""
    picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
    picture.pts = number
    container.mux(stream.encode(picture))


def _rate_hz(stamps: dict[str, list[int]]) -> int:
    """Rate of the fastest camera, from the median time between its pictures."""
    periods = [float(np.median(np.diff(times))) for times in stamps.values() if len(times) > 1]
    fastest = min((period for period in periods if period > 0.0), default=float(NANOSECONDS))
    return max(SLOWEST_HZ, min(FASTEST_HZ, round(NANOSECONDS / fastest)))


def _shots(bag: Bag, log: RunLog) -> Iterator[Shot]:
    """The run's pictures, in the order of the bag; those that go back in time are left out."""
    names = {topic: name for name, topic in log.cameras.items()}
    latest = dict.fromkeys(log.cameras, -1)
    for raw, message in bag.decoded(names.keys()):
        camera = names[raw.topic]
        stamp = stamp_ns(message.header.stamp)
        if stamp <= latest[camera] or not log.within(stamp):
            continue
        try:
            picture = read_image(message)
        except ValueError as error:
            note = f"camera {camera}: an image was left out: {error}"
            if note not in log.notes:
                log.notes.append(note)
            continue
        latest[camera] = stamp
        yield Shot(stamp, camera, picture)


class _Sheet:
    """One frame of the video: header, cameras in a row, panel. Drawn over and over in place."""

    def __init__(self, log: RunLog) -> None:
        self._log = log
        self._labels = {name: label(name) for name in log.cameras}
        self.width = self.height = 0

    def lay_out(self, first: Picture) -> None:
        """Fix the sizes, by the first picture: all cameras get cells of its shape."""
        height, width = first.shape[:2]
        cell_px = max(2, round(CAMERA_PX * width / height))
        row_px = len(self._log.cameras) * (cell_px + GAP_PX) - GAP_PX
        self.width = max(LEAST_WIDTH_PX, row_px + row_px % 2 + 2 * BORDER_PX)
        self._overlay = Overlay(self._log, self.width)
        self._top = HEADER_PX + BORDER_PX
        self._bottom = self._top + CAMERA_PX
        self.height = self._bottom + BORDER_PX + self._overlay.panel_px
        self._frame = np.empty((self.height, self.width, 3), np.uint8)
        self._frame[:] = colours.rgb(colours.PANEL)
        left = (self.width - row_px) // 2
        self._cells = {
            camera: self._frame[self._top : self._bottom, x : x + cell_px]
            for number, camera in enumerate(self._log.cameras)
            for x in [left + number * (cell_px + GAP_PX)]
        }

    def show(self, shot: Shot) -> None:
        """Put a picture into its camera's cell, where it stays until the next."""
        cell = self._cells[shot.camera]
        height, width = shot.picture.shape[:2]
        scale = min(cell.shape[1] / width, CAMERA_PX / height)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        x, y = (cell.shape[1] - size[0]) // 2, (CAMERA_PX - size[1]) // 2
        scaled = cv2.resize(shot.picture, size, interpolation=cv2.INTER_CUBIC)
        cell[y : y + size[1], x : x + size[0]] = scaled
        name = self._labels[shot.camera][:CAMERA_PX, : cell.shape[1]]
        cell[: name.shape[0], : name.shape[1]] = name

    def frame(self, time_ns: int) -> Picture:
        """The frame at a time, (height, width, 3); valid until the next is asked for."""
        self._frame[:HEADER_PX] = self._overlay.header(time_ns)
        # The border around the pictures has the colour of what the gate does.
        colour = colours.rgb(self._overlay.decision_colour(time_ns))
        edge = self._bottom + BORDER_PX
        for strip in (
            self._frame[HEADER_PX : self._top],
            self._frame[self._bottom : edge],
            self._frame[self._top : self._bottom, :BORDER_PX],
            self._frame[self._top : self._bottom, -BORDER_PX:],
        ):
            strip[:] = colour
        self._frame[edge:] = self._overlay.panel(time_ns)
        return self._frame
