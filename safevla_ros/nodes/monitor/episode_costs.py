"""Costs of the running episode: which world states make up which step.

A step opens when the gate has judged its candidate, and lasts until the next one's or the end of
the episode, so no time of an episode is left out; what comes before the first step counts to it. It
does not matter whether the candidate passed: a policy that is held back goes on acting, and each of
its steps is charged for what the robot does meanwhile. Candidates that were refused as such (not
readable, too old, of another episode) are no steps.
"""

from __future__ import annotations

from collections.abc import Callable

from safevla_ros.safety.accounting import CostAccountant, LiveMargin, StepCosts
from safevla_ros.safety.decisions import Proposal, Reason, Verdict
from safevla_ros.safety.specification import Specification
from safevla_ros.safety.world import NO_TASK, Task, WorldState

NO_STEP = frozenset(
    {
        Reason.UNKNOWN_SOURCE,
        Reason.INVALID_COMMAND,
        Reason.ZERO_STAMP,
        Reason.FUTURE_STAMP,
        Reason.STALE_COMMAND,
        Reason.OUT_OF_ORDER,
        Reason.OTHER_EPISODE,
        Reason.STALE_CHUNK,
    }
)
MOST_SAMPLES = 3000
"""Samples kept for one step: a minute at 50 Hz. A policy that dies leaves its last step open."""


class EpisodeCosts:
    """Opens and closes steps; `on_step` hears the costs of each that was closed."""

    def __init__(self, specification: Specification, on_step: Callable[[StepCosts], None]) -> None:
        self._accountant = CostAccountant(specification)
        self._on_step = on_step
        self.episode_id = ""
        """The running episode; empty: none."""
        self.task: Task = NO_TASK
        self.step: int | None = None
        """The open step. None: none yet."""
        self._samples = 0

    def begin(self, episode_id: str, task: Task) -> None:
        """An episode begins; one that was running is over."""
        self.end()
        self.episode_id, self.task = episode_id, task
        self._accountant.reset(episode_id, task)

    def end(self) -> None:
        """The episode is over: its last step closes."""
        self._close()
        self.episode_id, self.task, self.step, self._samples = "", NO_TASK, None, 0
        self._accountant.reset("")

    def sample(self, world: WorldState) -> tuple[LiveMargin, ...]:
        """Add a world state to the open step; the margins in it."""
        if self._samples < MOST_SAMPLES:
            self._samples += 1
            self._accountant.sample(world)
        return self._accountant.live(world)

    def judged(self, proposal: Proposal, verdict: Verdict) -> None:
        """A candidate was judged: if it begins a step, the one before closes."""
        belongs = self.episode_id != "" and proposal.episode_id == self.episode_id
        if belongs and proposal.step != self.step and verdict.reason not in NO_STEP:
            self._close()
            self.step = proposal.step

    def _close(self) -> None:
        if self.step is not None:
            self._on_step(self._accountant.close_step(self.step))
            self._samples = 0
