"""Clips: short bags of what went wrong, each with the seconds before and after it.

A clip ends some seconds after its last event. Until as much time has passed as clips begin before
their event, it is only paused: an event that comes meanwhile would begin a clip that overlaps with
it, so the clip goes on instead, without a gap.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

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


def clip_name(episode_id: str, event: Event) -> str:
    """A telling name for a clip's folder."""
    where = f"{episode_id}-step{event.step:04d}" if episode_id else f"{event.stamp_ns // 10**6}"
    return f"{where}-{event.term or event.kind}"
