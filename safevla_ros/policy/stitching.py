"""Joins chunks of continuous actions without a pause, though each comes late.

Row i of a chunk is meant for the time `observed + i step_s`: the policy saw the robot at
`observed`. When the chunk is known, some of that has passed. So a new chunk is joined at the row
that is meant for the time of the next step, its earlier rows are left out, and what is left of the
running chunk gives way to it. A new one is asked for as late as the measured latency allows.

Times are ROS time in integer nanoseconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

Step = TypeVar("Step")

LATENCIES = 20
"""Chunks over which latency is measured; the slowest of them counts."""


class ChunkSchedule(Generic[Step]):
    """The steps to come, each `step_ns` long, and when the next one is due."""

    def __init__(self, step_ns: int, start_ns: int) -> None:
        self._step_ns = step_ns
        self._steps: deque[Step] = deque()
        self._latencies_ns: deque[int] = deque(maxlen=LATENCIES)
        self.due_ns = start_ns
        self._is_truncated = False

    def __len__(self) -> int:
        """How many steps are known and not taken."""
        return len(self._steps)

    @property
    def latency_ns(self) -> int:
        """From observation to chunk, as slow as it was lately; 0 before the first."""
        return max(self._latencies_ns, default=0)

    def wants_chunk(self, now_ns: int) -> bool:
        """Whether a chunk that is begun now comes just in time: before the last step is over, with
        one step to spare; or the present one was truncated."""
        if self._is_truncated:
            return True
        left_ns = max(self.due_ns - now_ns, 0) + len(self._steps) * self._step_ns
        return left_ns <= self.latency_ns + self._step_ns

    def join(self, steps: Sequence[Step], observed_ns: int, now_ns: int) -> int | None:
        """Go on with a new chunk; return how many of its steps were left out, or None when it is
        too old to be of use, which leaves everything as it was."""
        self._latencies_ns.append(max(now_ns - observed_ns, 0))
        next_ns = max(self.due_ns, now_ns)
        passed = max(round((next_ns - observed_ns) / self._step_ns), 0)
        if passed >= len(steps):
            return None
        self._steps = deque(steps[passed:])
        self._is_truncated = False
        return passed

    def truncate(self, count: int) -> None:
        """Only so many of the steps to come are of use, and another chunk is wanted at once."""
        while len(self._steps) > count:
            self._steps.pop()
        self._is_truncated = True

    def take(self, now_ns: int) -> Step:
        """The step that is due. The next one is due when it ends: on a grid, so that small delays do
        not add up, unless it was late by more than half a step."""
        late = now_ns - self.due_ns > self._step_ns // 2
        self.due_ns = (now_ns if late else self.due_ns) + self._step_ns
        return self._steps.popleft()
