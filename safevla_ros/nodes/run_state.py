"""What a person wants to see of a running graph, as plain data: no ROS is imported here."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from dataclasses import dataclass, field

EVENTS_KEPT = 100


@dataclass(slots=True)
class TermState:
    """One cost term: its episode sum, its budget, and how far it is from violation now.

    `budget` and `margin` are NaN where there is none. Below `warning` the margin is small.
    """

    name: str
    unit: str = ""
    budget: float = math.nan
    warning: float = 0.0
    cumulative: float = 0.0
    margin: float = math.nan
    applicable: bool = False
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `time_s`: ROS time since the run began; None before that."""

    kind: str
    text: str
    time_s: float | None = None


@dataclass(slots=True)
class RunState:
    """A run as it stands. Words such as `decision` and `mode` are the messages' constants."""

    robot: str = ""
    policy: str = ""
    nodes: dict[str, str] = field(default_factory=dict)
    instruction: str = ""
    task: str = ""
    episode_id: str = ""
    step: int = 0
    phase: str = ""
    outcome: str = ""
    reason: str = ""
    now_s: float = math.nan
    began_s: float = math.nan
    time_limit_s: float = math.nan
    began_wall_s: float = math.nan
    inference_ms: float = math.nan
    camera_to_candidate_ms: float = math.nan
    camera_to_command_ms: float = math.nan
    mode: str = ""
    decision: str = ""
    decision_reason: str = ""
    detail: str = ""
    active_source: str = ""
    latched: bool = False
    estop: bool = False
    watchdog_alive: bool = False
    stale_signals: tuple[str, ...] = ()
    counts: Counter[str] = field(default_factory=Counter)
    terms: dict[str, TermState] = field(default_factory=dict)
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    events_seen: int = 0

    def term(self, name: str) -> TermState:
        """The term of that name, from now on if it was not known."""
        return self.terms.setdefault(name, TermState(name))

    def begin(self) -> None:
        """The episode begins."""
        self.began_s = self.now_s
        self.began_wall_s = time.monotonic()

    def add_event(self, kind: str, text: str) -> None:
        """Remember what happened."""
        elapsed = self.elapsed_s
        self.events.append(Event(kind, text, None if math.isnan(elapsed) else elapsed))
        self.events_seen += 1

    @property
    def elapsed_s(self) -> float:
        """ROS time since the episode began; NaN before."""
        return self.now_s - self.began_s

    @property
    def elapsed_wall_s(self) -> float:
        """Wall time since the episode began; NaN before."""
        return time.monotonic() - self.began_wall_s
