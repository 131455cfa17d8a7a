"""Clips: short bags of what went wrong, each with the seconds before and after it.

A clip ends some seconds after its last event. Until as much time has passed as clips begin before
their event, it is only paused: an event that comes meanwhile would begin a clip that overlaps with
it, so the clip goes on instead, without a gap.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safevla_ros.bags import BagError
from safevla_ros.bags.metadata import change_provenance

CLIPS = "clips"
"""Folder of the clips below that of the episodes."""


@dataclass(frozen=True, slots=True)
class Event:
    """What a clip is about; as in the SafetyEvent message, `kind` in words.

    `cost` and `margin` are None where the event has none."""

    stamp_ns: int
    kind: str
    step: int
    term: str
    cause: str
    detail: str
    cost: float | None
    margin: float | None

    def as_json(self) -> dict[str, Any]:
        """As it stands in a clip's provenance."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ClipTimes:
    """Seconds before the first and after the last event of a clip, and between these at most."""

    before_s: float = 5.0
    after_s: float = 3.0
    longest_s: float = 60.0


class ClipWindow:
    """When a clip that begins at `now_s` with its first event pauses and ends. Any steady clock."""

    def __init__(self, times: ClipTimes, now_s: float) -> None:
        self._times = times
        self._first_s = now_s
        self._last_s = now_s

    def takes(self, now_s: float) -> bool:
        """Whether an event now belongs to this clip."""
        return now_s < self.ends_s and now_s - self._first_s <= self._times.longest_s

    def extend(self, now_s: float) -> None:
        """Another event happens."""
        self._last_s = max(self._last_s, now_s)

    @property
    def pauses_s(self) -> float:
        """From then on nothing is written, unless `extend` is called."""
        return self._last_s + self._times.after_s

    @property
    def ends_s(self) -> float:
        """From then on it is over."""
        return self.pauses_s + self._times.before_s


class ClipOutcomes:
    """Clips learn how their episode ended, also those that were closed before it did. For one
    thread; metadata.yaml is changed in another, since a disk may be slow at it."""

    def __init__(self, warn: Callable[[str], object]) -> None:
        """`warn` hears, in the other thread, what cannot be changed."""
        self._warn = warn
        self._closed: tuple[str, list[Path]] = ("", [])
        self._telling: list[threading.Thread] = []

    def closed(self, episode_id: str, clip: Path) -> None:
        """A clip of this episode is closed. Those of the episode before are not waited for any
        longer."""
        if self._closed[0] != episode_id:
            self._closed = (episode_id, [])
        self._closed[1].append(clip)

    def tell(self, episode_id: str, outcome: Mapping[str, str]) -> None:
        """The episode ended like this: `outcome` is the provenance that says so."""
        clips = self._closed[1] if self._closed[0] == episode_id else []
        if clips:
            self._closed = ("", [])
            self._telling = [thread for thread in self._telling if thread.is_alive()]
            thread = threading.Thread(
                target=self._change_all, args=(clips, outcome), name="outcome of clips", daemon=True
            )
            self._telling.append(thread)
            thread.start()

    def wait(self, timeout_s: float) -> None:
        """Wait until what was told stands in the clips, at most so long for each telling."""
        for thread in self._telling:
            thread.join(timeout_s)

    def _change_all(self, clips: Sequence[Path], outcome: Mapping[str, str]) -> None:
        for clip in clips:
            self._change(clip, outcome)

    def _change(self, clip: Path, outcome: Mapping[str, str]) -> None:
        try:
            change_provenance(clip, outcome)
        except BagError as error:
            self._warn(str(error))


def clip_name(episode_id: str, event: Event) -> str:
    """A telling name for a clip's folder."""
    where = f"{episode_id}-step{event.step:04d}" if episode_id else f"{event.stamp_ns // 10**6}"
    return f"{where}-{event.term or event.kind}"
