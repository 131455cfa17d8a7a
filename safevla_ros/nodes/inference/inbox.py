"""What the inference node's executor hands to the thread that runs an episode."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from safevla_ros.robot.state import NANOSECONDS, Localisation, SceneObjects

T = TypeVar("T")

WAKE_S = 0.1
"""A wait looks at its condition at least this often, whatever the clocks do."""


@dataclass(slots=True)
class Inbox:
    """The latest of everything that an episode depends on, and a way to wait for more of it.

    The executor's callbacks write with `put`; the episode's thread reads while it waits. Waits are
    in ROS time, which moves when /clock says so: `tick` is to be called whenever it has.
    """

    now_ns: Callable[[], int]
    observation: Any = None
    observation_arrived_s: float = 0.0  # steady clock
    unusable: str = ""  # why the latest observation is not in `observation`
    scene: SceneObjects | None = None
    localisation: Localisation | None = None
    budgets: Mapping[str, float] = field(default_factory=dict)
    remaining: Mapping[str, float] = field(default_factory=dict)
    verdict: Any = None
    latched: str = ""  # why the monitor holds a latched stop; empty: it holds none
    truncated: tuple[str, int, int] | None = None
    """Episode, chunk id and first step that the monitor refuses. None: it refuses none."""
    cancelled: bool = False
    preempted: bool = False  # another goal wants to run
    stopping: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def put(self, **values: Any) -> None:
        """Set attributes and wake who waits."""
        with self._changed:
            for name, value in values.items():
                setattr(self, name, value)
            self._changed.notify_all()

    def tick(self) -> None:
        """ROS time has moved."""
        with self._changed:
            self._changed.notify_all()

    def wait(self, ready: Callable[[], T | None], until_ns: int | None = None) -> T | None:
        """Wait until `ready` returns something and return it; None once ROS time is `until_ns`.

        `ready` is called whenever something has changed, and may raise to end the wait.
        """
        with self._changed:
            while True:
                value = ready()
                if value is not None:
                    return value
                left_s = WAKE_S
                if until_ns is not None:
                    left_s = (until_ns - self.now_ns()) / NANOSECONDS
                    if left_s <= 0.0:
                        return None
                self._changed.wait(min(left_s, WAKE_S))

    def silent_s(self, since_s: float) -> float:
        """Time without a usable observation, at most since `since_s`, on the steady clock."""
        return time.monotonic() - max(since_s, self.observation_arrived_s)
