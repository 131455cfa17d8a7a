"""Who may command the robot: order, age and priority of what the sources send.

twist_mux's rule: of the sources that are alive, the one with the highest priority commands. A
source is alive for its timeout after each acceptable candidate. Ages and timeouts count in ROS
time, like the motion that they bound, so that a slow simulation starves nobody.
"""

from __future__ import annotations

from dataclasses import dataclass

from safevla_ros.robot.profile import CommandSource, Profile
from safevla_ros.robot.state import NANOSECONDS
from safevla_ros.safety.chunks import Chunk
from safevla_ros.safety.decisions import Proposal, Reason

FUTURE_S = 0.1
"""How far ahead of the clock a stamp may lie: clocks of two nodes, or of a simulation, differ."""

Refusal = tuple[Reason, str]


@dataclass(slots=True)
class _Heard:
    """What a source sent last."""

    arrived_ns: int
    stamp_ns: int
    episode_id: str
    step: int


class Sources:
    """The profile's command sources and what they sent last."""

    def __init__(self, profile: Profile) -> None:
        self._sources = {source.name: source for source in profile.sources}
        self.policies = frozenset(source.name for source in profile.sources if source.is_policy)
        """Those that plan from what the cameras see."""
        self._heard: dict[str, _Heard] = {}

    def forget(self) -> None:
        """Nobody is alive; any stamp is in order again."""
        self._heard.clear()

    def timeout_s(self, name: str) -> float:
        """How long a source may be silent while it commands."""
        return self._sources[name].timeout_s

    def refusal(
        self, proposal: Proposal, now_ns: int, chunk: Chunk | None = None
    ) -> Refusal | None:
        """Why a proposal must not be taken from its source now. `chunk`: the latest one."""
        source = self._sources.get(proposal.source)
        if source is None:
            known = ", ".join(self._sources)
            return Reason.UNKNOWN_SOURCE, (
                f"no source is named {proposal.source!r}; the profile has {known}"
            )
        return (
            self._age(proposal, source, now_ns)
            or self._observed(proposal, source, chunk)
            or self._order(proposal)
            or self._rank(source, now_ns)
        )

    def accept(self, proposal: Proposal, now_ns: int) -> None:
        """Remember a proposal that was not refused."""
        self._heard[proposal.source] = _Heard(
            now_ns, proposal.stamp_ns, proposal.episode_id, proposal.step
        )

    def _age(self, proposal: Proposal, source: CommandSource, now_ns: int) -> Refusal | None:
        if proposal.stamp_ns <= 0:
            return Reason.ZERO_STAMP, f"{source.name}: the stamp is {proposal.stamp_ns} ns"
        age_s = (now_ns - proposal.stamp_ns) / NANOSECONDS
        if age_s < -FUTURE_S:
            return Reason.FUTURE_STAMP, f"{source.name}: the stamp is {-age_s:.2f} s ahead"
        allowed_s = min(proposal.command.duration_s, source.timeout_s)
        if age_s >= allowed_s:
            return Reason.STALE_COMMAND, (
                f"{source.name}: {age_s:.2f} s old on arrival, it was good for {allowed_s:.2f} s"
            )
        return None

    def _observed(
        self, proposal: Proposal, source: CommandSource, chunk: Chunk | None
    ) -> Refusal | None:
        if chunk is None or not chunk.holds(proposal):
            return None
        age_s, allowed_s = chunk.age_s(proposal), source.observation_max_age_s
        if age_s <= allowed_s:
            return None
        return Reason.STALE_CHUNK, (
            f"{source.name}: its chunk was planned from an observation that was {age_s:.1f} s old, "
            f"at most {allowed_s:g} s is allowed"
        )

    def _order(self, proposal: Proposal) -> Refusal | None:
        last = self._heard.get(proposal.source)
        if last is None:
            return None
        late_s = (last.stamp_ns - proposal.stamp_ns) / NANOSECONDS
        if late_s > 0.0:
            return Reason.OUT_OF_ORDER, (
                f"{proposal.source}: {late_s:.3f} s older than what it sent before"
            )
        if proposal.episode_id == last.episode_id and proposal.step < last.step:
            return Reason.OUT_OF_ORDER, (
                f"{proposal.source}: step {proposal.step} after step {last.step}"
            )
        return None

    def _rank(self, source: CommandSource, now_ns: int) -> Refusal | None:
        for name, last in self._heard.items():
            other = self._sources[name]
            silent_s = (now_ns - last.arrived_ns) / NANOSECONDS
            if other.priority > source.priority and silent_s < other.timeout_s:
                return Reason.OUTRANKED, f"{name} commands, it ranks above {source.name}"
        return None
