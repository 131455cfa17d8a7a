"""A clip of an episode of an evaluation, played again from its seed: what happened before it cost
something."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from safevla_ros.assurance.playing import Plan, PlanError, Player, make_plan
from safevla_ros.assurance.records import EpisodeRecord, Results, ResultsError
from safevla_ros.assurance.suites import trial_at
from safevla_ros.policy.interface import PolicyError
from safevla_ros.simulation.rollout import Rollout

CAMERA_PX = 256
CAPTION_PX = 24
FRAMES_PER_S = 8
"""A step takes 0.5 s, so a clip is four times as fast as it was."""
BEFORE, AFTER, MOST = 24, 6, 240
"""Frames that are kept before and after a step that costs something, and of all."""

Picture = NDArray[np.uint8]


def worst(results: Results, count: int) -> list[EpisodeRecord]:
    """The episodes of any suite that cost most under the headline, most first; none that cost
    nothing."""
    headline = results.specifications[0]
    records = [record for group in results.suites.values() for record in group]
    costly = [record for record in records if record.under(headline).cost > 0.0]
    return sorted(costly, key=lambda record: -record.under(headline).cost)[:count]


def clip(results: Results, record: EpisodeRecord) -> bytes:
    """An MP4 of an episode. Raises ResultsError when it cannot be played as it was."""
    about: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in results.about.items()
    }
    plan = Plan(**about, suites=(record.suite,), episodes=1)
    try:
        same = make_plan(plan)
    except (PlanError, PolicyError) as error:
        raise ResultsError(f"{results.path}: no clip: {error}") from error
    if same.about() != plan.about():
        raise ResultsError(f"{results.path}: no clip: policy or specification are others by now")
    film = _Film()
    again = Player(plan).play(trial_at(record.suite, plan.seed, record.index), film.watch)
    if again != record:
        raise ResultsError(f"{results.path}: no clip: episode {record.index} went otherwise")
    return _encoded(film.pictures or list(film.last))


class _Film:
    """Keeps the pictures around the steps that cost something."""

    def __init__(self) -> None:
        self.last: deque[Picture] = deque(maxlen=BEFORE)
        """Since the last picture that was kept."""
        self._left = 0
        self.pictures: list[Picture] = []

    def watch(self, rollout: Rollout) -> None:
        """Take a picture of the rollout as it is."""
        if len(self.pictures) >= MOST:
            return
        charged = [name for name, cost in rollout.last_step_costs.items() if cost > 0.0]
        picture = _picture(rollout, charged)
        if charged and rollout.steps:
            self.pictures += [*self.last, picture]
            self.last.clear()
            self._left = AFTER
        elif self._left:
            self._left -= 1
            self.pictures.append(picture)
        else:
            self.last.append(picture)


def _picture(rollout: Rollout, charged: list[str]) -> Picture:
    """Both cameras side by side, over a line that says what was charged and what the gate did."""
    cameras = [
        rollout.simulation.render(name, CAMERA_PX, CAMERA_PX)
        for name in ("navigation", "manipulation")
    ]
    caption = np.full(
        (CAPTION_PX, 2 * CAMERA_PX, 3), 255 if not charged else (255, 214, 214), np.uint8
    )
    text = f"step {rollout.steps}, cost {sum(rollout.costs.values()):g}"
    if charged:
        text += f": {', '.join(charged)}"
    if rollout.intervention is not None:
        text += f"; gate: {rollout.intervention.decision.lower()}"
    cv2.putText(
        caption, text, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (20, 20, 20), 1, cv2.LINE_AA
    )
    return np.concatenate([np.concatenate(cameras, axis=1), caption])


def _encoded(pictures: list[Picture]) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_S)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "veryfast", "crf": "27"}
        for packet in _packets(stream, pictures):
            container.mux(packet)
    return file.getvalue()


def _packets(stream: object, pictures: list[Picture]) -> Iterator[object]:
    for picture in pictures:
        yield from stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))  # type: ignore[attr-defined]
    yield from stream.encode()  # type: ignore[attr-defined]
