"""The chunk that a policy is carrying out, as the gate looks along it.

Chunks move nothing; their steps arrive as candidates, one by one, when they are due. From the chunk
the gate knows beforehand what is to come. The first step that is predicted to violate, and all after
it, are then refused: the chunk is truncated, and the policy is told so that it plans anew in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from safevla_ros.robot.state import Command
from safevla_ros.safety.decisions import Proposal


@dataclass(frozen=True, slots=True)
class Chunk:
    """Commands for the steps `first_step`, `first_step` + 1, ..., each for its `duration_s`,
    planned from an observation of `stamp_ns`."""

    episode_id: str
    chunk_id: int
    first_step: int
    stamp_ns: int
    commands: tuple[Command, ...]

    def holds(self, proposal: Proposal) -> bool:
        """Whether a candidate is a step of this chunk."""
        return (
            bool(self.episode_id)
            and proposal.episode_id == self.episode_id
            and proposal.chunk_id == self.chunk_id
            and 0 <= proposal.step - self.first_step < len(self.commands)
        )

    def after(self, proposal: Proposal) -> Sequence[Command]:
        """What follows a step of this chunk; nothing after one that is not of it."""
        done = proposal.step - self.first_step + 1
        return self.commands[done:] if self.holds(proposal) else ()

    def age_s(self, proposal: Proposal) -> float:
        """How old the observation was when the chunk's first step was due, going by a step's stamp
        [s]."""
        before = self.commands[: proposal.step - self.first_step]
        since_s = (proposal.stamp_ns - self.stamp_ns) * 1e-9
        return since_s - sum(command.duration_s for command in before)


@dataclass(frozen=True, slots=True)
class Truncation:
    """The steps of a chunk from `from_step` on are refused, for `detail`."""

    chunk: Chunk
    from_step: int
    term: str
    detail: str

    def refuses(self, proposal: Proposal) -> bool:
        """Whether a candidate is one of those steps."""
        return self.chunk.holds(proposal) and proposal.step >= self.from_step
