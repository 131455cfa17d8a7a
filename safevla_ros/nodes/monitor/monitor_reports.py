"""What the cost monitor tells the world: its publishers, and what is worth an event.

Nothing here decides about motion. An event is published at its onset only; SafetyStatus when the
decision changes, and in between as often as `status` is called.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from visualization_msgs.msg import MarkerArray

from safevla_ros.msg import (
    CandidateCommand,
    CostSpecification,
    CostVector,
    GatedAction,
    LatencyTrace,
    SafetyEvent,
    SafetyStatus,
)
from safevla_ros.nodes import topics
from safevla_ros.nodes.lifecycle import GraphNode
from safevla_ros.nodes.monitor import monitor_messages
from safevla_ros.nodes.monitor.markers import safety_markers
from safevla_ros.robot import messages
from safevla_ros.safety.accounting import StepCosts
from safevla_ros.safety.chunks import Truncation
from safevla_ros.safety.decisions import Decision, Reason, Verdict
from safevla_ros.safety.specification import Specification
from safevla_ros.safety.world import WorldState

UNEVENTFUL = frozenset(
    {
        Reason.ACCEPTED,
        Reason.NO_COMMAND,
        Reason.EXPIRED,
        Reason.SOURCE_TIMEOUT,
        Reason.EPISODE_ENDED,
        Reason.OUTRANKED,
    }
)
"""Reasons that are no intervention of the gate."""


class MonitorReports:
    """Publishers of the cost monitor, except those of final commands. `where_now` gives the running
    episode's id and step, which events carry."""

    def __init__(
        self,
        node: GraphNode,
        specification: Specification,
        where_now: Callable[[], tuple[str, int]],
    ) -> None:
        self._node = node
        self._specification = specification
        self._where_now = where_now
        self._statuses = node.publisher(SafetyStatus, topics.SAFETY_STATUS, topics.latched())
        self._vectors = node.publisher(CostVector, topics.COST_VECTOR, topics.reliable(100))
        self._events = node.publisher(SafetyEvent, topics.SAFETY_EVENT, topics.reliable(100))
        self._gated = node.publisher(GatedAction, topics.GATED_ACTION, topics.reliable(100))
        self._markers = node.publisher(MarkerArray, topics.MARKERS, topics.reliable(1))
        self._specifications = node.publisher(
            CostSpecification, topics.COST_SPECIFICATION, topics.latched()
        )
        self.verdict: Verdict | None = None
        """The last decision. A candidate that was refused stays it until something else happens:
        that nothing runs afterwards is no news."""
        self._supervised: tuple[Decision, Reason] | None = None
        self._latch_told = False
        self._intervention: tuple[Reason, str] | None = None
        self._truncation: Truncation | None = None
        self._charged: set[str] = set()
        self._decisions: Counter[Decision] = Counter()
        self._specifications.publish(
            monitor_messages.cost_specification(specification, node.now_ns())
        )

    def begin_episode(self) -> None:
        """Counts start anew."""
        self._decisions.clear()
        self._charged.clear()

    def event(self, kind: int, detail: str, **fields: Any) -> None:
        """One SafetyEvent; `kind` is its constant, `fields` as in the message."""
        episode_id, step = self._where_now()
        message = SafetyEvent(kind=kind, detail=detail, episode_id=episode_id)
        message.step = fields.pop("step", step)
        message.cost = message.margin = float("nan")
        for name, value in fields.items():
            setattr(message, name, value)
        messages.set_stamp(message.header.stamp, self._node.now_ns())
        self._events.publish(message)

    def gated(
        self, verdict: Verdict, proposed: CandidateCommand, trace: LatencyTrace, now_ns: int
    ) -> None:
        """What became of a candidate."""
        message = monitor_messages.gated_action(verdict, proposed, now_ns)
        message.trace = trace
        self._gated.publish(message)

    def count(self, verdict: Verdict) -> None:
        """One more candidate was judged."""
        self._decisions[verdict.decision] += 1

    def note(self, verdict: Verdict, *, arrived: bool, latched: bool) -> bool:
        """Tell the onset of a latch or an intervention. Whether the last decision is a new one.

        `arrived`: the verdict is on a candidate that arrived, not on the running one.
        """
        before, key = self.verdict, _key(verdict)
        if arrived or key != self._supervised or before is None or key == _key(before):
            self.verdict = verdict
        if not arrived:
            self._supervised = key
        if latched and not self._latch_told:
            self._node.get_logger().error(f"stop latched: {verdict.detail}")
            self._tell(SafetyEvent.LATCH, verdict)
        elif not latched and verdict.reason not in UNEVENTFUL:
            intervention = (verdict.reason, verdict.term)
            if verdict.proposal is not None and intervention != self._intervention:
                self._tell(SafetyEvent.INTERVENTION, verdict)
            self._intervention = intervention
        elif verdict.reason is Reason.ACCEPTED:
            self._intervention = None
        self._latch_told = latched
        return before is None or _key(before) != _key(self.verdict)

    def truncated(self, truncation: Truncation | None) -> bool:
        """Tell that a chunk was truncated, once. Whether that is news, also its end."""
        is_new, self._truncation = truncation is not self._truncation, truncation
        if is_new and truncation is not None:
            self.event(
                SafetyEvent.INTERVENTION,
                truncation.detail,
                step=truncation.from_step,
                term=truncation.term,
                cause=Reason.TRUNCATED.word,
            )
        return is_new

    def step(self, costs: StepCosts) -> None:
        """A closed step, and the violations that began in it."""
        self._vectors.publish(monitor_messages.cost_vector(costs, self._specification))
        for term in costs.terms:
            if term.cost > 0.0 and term.name not in self._charged:
                self.event(
                    SafetyEvent.VIOLATION,
                    f"{term.name}: {term.cause}",
                    step=costs.step,
                    term=term.name,
                    cause=term.cause,
                    cost=term.cost,
                    margin=term.margin,
                )
        self._charged = {term.name for term in costs.terms if term.cost > 0.0}

    def status(self, *, active: bool, fields: Mapping[str, Any]) -> None:
        """SafetyStatus; `fields` are those that only the monitor knows."""
        message = SafetyStatus(
            decisions_pass=self._decisions[Decision.PASS],
            decisions_limit=self._decisions[Decision.LIMIT],
            decisions_halt=self._decisions[Decision.HALT],
            decisions_stop=self._decisions[Decision.STOP] + self._decisions[Decision.LATCHED],
            **fields,
        )
        message.episode_id, message.step = self._where_now()
        messages.set_stamp(message.header.stamp, self._node.now_ns())
        if self._truncation is not None:
            message.truncated = self._truncation.detail
            message.truncated_chunk_id = self._truncation.chunk.chunk_id
            message.truncated_from_step = self._truncation.from_step
        if active and self.verdict is not None:
            message.decision = monitor_messages.decision_constant(self.verdict.decision)
            message.reason, message.detail = self.verdict.reason.word, self.verdict.detail
            message.term = self.verdict.term
        else:
            message.decision = GatedAction.HALT
            message.reason, message.detail = "inactive", "the monitor is not active"
        self._statuses.publish(message)

    def markers(self, world: WorldState, footprint_radius_m: float) -> None:
        """The picture, if anybody looks."""
        if self._markers.get_subscription_count():
            self._markers.publish(
                safety_markers(world, self._specification, self.verdict, footprint_radius_m)
            )

    def _tell(self, kind: int, verdict: Verdict) -> None:
        self.event(kind, verdict.detail, term=verdict.term, cause=verdict.reason.word)


def _key(verdict: Verdict) -> tuple[Decision, Reason]:
    return verdict.decision, verdict.reason
