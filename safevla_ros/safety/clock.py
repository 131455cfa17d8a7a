"""Whether ROS time runs as it should, held against the steady clock."""

from __future__ import annotations

from safevla_ros.robot.state import NANOSECONDS

CLOCK_JITTER_S = 0.05
"""ROS time may step back by this much before it counts as a jump."""
LEAP_S = 2.0
"""ROS time may run ahead of the steady clock by this much between two judgements: a simulation may
be faster than real time, but not by so much in one period."""


class Clock:
    """The times of the latest judgement."""

    def __init__(self) -> None:
        self._read_ns: int | None = None
        self._steady_s = 0.0

    @property
    def now_ns(self) -> int:
        """ROS time of the latest judgement; 0 before the first."""
        return self._read_ns or 0

    def read(self, now_ns: int, steady_s: float) -> str:
        """Take the times of the next judgement. How ROS time jumped since the last one, in words;
        empty: it did not."""
        before_ns, self._read_ns = self._read_ns, now_ns
        passed_s, self._steady_s = steady_s - self._steady_s, steady_s
        if before_ns is None:
            return ""
        ahead_s = (now_ns - before_ns) / NANOSECONDS
        if -CLOCK_JITTER_S <= ahead_s <= max(passed_s, 0.0) + LEAP_S:
            return ""
        return f"time went {'back' if ahead_s < 0.0 else 'ahead'} by {abs(ahead_s):.2f} s"
