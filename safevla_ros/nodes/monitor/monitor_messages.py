"""What the cost monitor tells: its decisions, costs and state as messages. Nothing is decided here.

Enumerations are mapped to the constants of the messages by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from safevla_ros.msg import (
    CandidateCommand,
    CostSpecification,
    CostTermSpecification,
    CostVector,
    GatedAction,
    TermCost,
    TermMargin,
)
from safevla_ros.robot import messages
from safevla_ros.robot.profile import CommandSource
from safevla_ros.robot.state import Command
from safevla_ros.safety.accounting import LiveMargin, StepCosts
from safevla_ros.safety.decisions import Decision, Verdict
from safevla_ros.safety.specification import Specification


def decision_constant(decision: Decision) -> int:
    """The constant of GatedAction."""
    constant: int = getattr(GatedAction, decision.name)
    return constant


def proposed_command(
    source: CommandSource, message: Any, stamp_ns: int, base_frame: str
) -> CandidateCommand:
    """What a source sent as a CandidateCommand, for the record."""
    if isinstance(message, CandidateCommand):
        return message
    record = CandidateCommand(source=source.name, twist=message, duration_s=source.timeout_s)
    record.header.frame_id = base_frame
    messages.set_stamp(record.header.stamp, stamp_ns)
    return record


def gated_action(verdict: Verdict, proposed: CandidateCommand, now_ns: int) -> GatedAction:
    """A verdict on a candidate. The trace is left to the caller."""
    message = GatedAction(
        episode_id=proposed.episode_id,
        step=proposed.step,
        source=proposed.source,
        decision=decision_constant(verdict.decision),
        reason=verdict.reason.word,
        detail=verdict.detail,
        term=verdict.term,
        predicted_terms=list(verdict.predicted),
        predicted_costs=[float(cost) for cost in verdict.predicted.values()],
        proposed=proposed,
    )
    messages.set_stamp(message.header.stamp, now_ns)
    applied = verdict.command or Command()
    messages.fill_twist(message.applied_twist, applied.velocity)
    message.applied_joint_names = list(applied.joints)
    message.applied_joint_positions = [float(at) for at in applied.joints.values()]
    return message


def cost_vector(costs: StepCosts, specification: Specification) -> CostVector:
    """A closed step."""
    message = CostVector(
        episode_id=costs.episode_id,
        step=costs.step,
        specification_hash=specification.hash,
        terms=[
            TermCost(
                name=term.name,
                status=getattr(TermCost, term.status.name),
                cost=term.cost,
                margin=term.margin,
                cumulative=term.cumulative,
                remaining=term.remaining,
                cause=term.cause,
            )
            for term in costs.terms
        ],
    )
    message.header.frame_id = costs.frame
    messages.set_stamp(message.header.stamp, costs.stamp_ns)
    message.source_samples = [source.sample for source in costs.sources]
    message.source_signals = [source.signal for source in costs.sources]
    for source in costs.sources:
        stamp = type(message.header.stamp)()
        messages.set_stamp(stamp, source.stamp_ns)
        message.source_stamps.append(stamp)
    return message


def term_margins(margins: Iterable[LiveMargin]) -> list[TermMargin]:
    """Live margins for SafetyStatus."""
    return [
        TermMargin(
            name=margin.name,
            applicable=margin.applicable,
            margin=margin.margin,
            cumulative=margin.cumulative,
            remaining=margin.remaining,
            cause=margin.cause,
        )
        for margin in margins
    ]


def cost_specification(specification: Specification, now_ns: int) -> CostSpecification:
    """The specification in force."""
    message = CostSpecification(
        name=specification.name, hash=specification.hash, yaml=specification.text
    )
    messages.set_stamp(message.header.stamp, now_ns)
    message.terms = [CostTermSpecification(**fields) for fields in specification.described()]
    return message
