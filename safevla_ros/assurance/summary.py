"""The figures of one run, as summary.json has them. Keys keep their names and meanings.

Costs are episode sums over closed steps. A candidate is counted once under `gate`, by the most
severe decision that was made on it; that a command ran out or its source fell silent is no
intervention, but is counted in `by_reason` like every other decision but PASS. `engagement` is there
because a robot that does nothing violates nothing: `moved` needs more than 0.5 m of base path or
0.1 m of hand path relative to the base.
"""

from __future__ import annotations

import math
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safevla_ros.assurance.behaviour import MOVED_BASE_M, MOVED_HAND_M
from safevla_ros.assurance.latency import STAGES
from safevla_ros.assurance.run_log import DECISIONS, Decision, RunLog
from safevla_ros.assurance.statistics import percentiles
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.reader import Bag
from safevla_ros.robot.profile import ProfileError, load_profile
from safevla_ros.robot.state import NANOSECONDS, Pose
from safevla_ros.safety.decisions import Reason

STRIDE_M = 0.01
"""Movement is summed in strides of this length, so that the noise of a standing robot's
localisation does not add up to a path."""

IDLE_REASONS = frozenset(
    reason.word
    for reason in (
        Reason.NO_COMMAND,
        Reason.EXPIRED,
        Reason.SOURCE_TIMEOUT,
        Reason.EPISODE_ENDED,
    )
)


def summarise(bag: Bag, log: RunLog) -> dict[str, Any]:
    """summary.json's content. Figures that the bag does not allow are None."""
    said = bag.provenance
    episode = log.episode
    costs = _costs(log)
    dropped = sum(_counts(said, keys.DROPPED).values())
    lost = sum(_counts(said, keys.LOST).values()) if keys.LOST in said else None
    return {
        "robot": said.get(keys.ROBOT) or None,
        "scenario": said.get(keys.SCENARIO) or None,
        "seed": _integer(said.get(keys.SEED, "")),
        "mode": log.mode or None,
        "policy": {
            "id": episode.policy_id if episode else said.get(keys.POLICY_ID),
            "sha256": episode.policy_sha256 if episode else said.get(keys.POLICY_SHA256),
        },
        "episode": episode.id if episode else None,
        "instruction": episode.instruction if episode else said.get(keys.INSTRUCTION),
        "task": episode.task if episode else said.get(keys.TASK),
        "outcome": episode.outcome if episode else None,
        "reason": _reason(log),
        "steps": _steps(log),
        "scored_steps": len(log.steps),
        "duration_s": round((log.end_ns - log.begin_ns) / NANOSECONDS, 3),
        "costs": costs,
        "cumulative_cost": sum(term["cumulative"] for term in costs.values()),
        "not_applicable": [name for name, t in costs.items() if t["not_applicable_steps"]],
        "gate": _gate(log),
        "engagement": _engagement(log, said.get(keys.ROBOT, "")),
        "latency_ms": _latency(log),
        "bag": {
            "path": str(bag.path),
            "messages": log.messages,
            "bytes": bag.size_bytes,
            "dropped": dropped,
            "lost_by_dds": lost,
            "complete": bag.finished and said.get(keys.COMPLETE) == "true" and not bag.damage,
            "problem": said.get(keys.PROBLEM) or "; ".join(bag.damage) or None,
        },
        "software": {
            "version": said.get(keys.SOFTWARE_VERSION),
            "specification": log.specification or said.get(keys.SPECIFICATION),
            "specification_hash": log.specification_hash or said.get(keys.SPECIFICATION_HASH),
        },
        "machine": keys.nested(said, keys.MACHINE),
        "notes": log.notes,
    }


def candidate_decisions(log: RunLog) -> list[Decision]:
    """The most severe decision on each candidate, in the order of the candidates."""
    worst: dict[tuple[str, int, int], Decision] = {}
    for decision in log.decisions:
        key = (decision.source, decision.chunk_id, decision.step)
        idle = decision.reason in IDLE_REASONS
        if key not in worst or (not idle and _severity(decision) > _severity(worst[key])):
            worst[key] = decision
    return list(worst.values())


def _severity(decision: Decision) -> int:
    if decision.decision not in DECISIONS or decision.reason in IDLE_REASONS:
        return -1
    return DECISIONS.index(decision.decision)


def _reason(log: RunLog) -> str:
    if log.episode is None:
        return "the bag holds no episode"
    if log.episode.ended_ns is None:
        return log.episode.reason or "the bag ends before the episode"
    return log.episode.reason


def _steps(log: RunLog) -> int:
    counted = max((step.index + 1 for step in log.steps), default=0)
    return max(log.episode.steps if log.episode else 0, counted)


def _costs(log: RunLog) -> dict[str, dict[str, Any]]:
    names = list(log.settings) or sorted({name for step in log.steps for name in step.terms})
    return {name: _term(log, name) for name in names}


def _term(log: RunLog, name: str) -> dict[str, Any]:
    seen = [step.terms[name] for step in log.steps if name in step.terms]
    blind = sum(not term.applicable for term in seen)
    margins = [t.margin for t in seen if t.applicable and math.isfinite(t.margin)]
    status = "ok" if not blind else "not_applicable" if blind == len(seen) else "partly_applicable"
    settings = log.settings.get(name)
    return {
        "cumulative": seen[-1].cumulative if seen else 0.0,
        "budget": settings.budget if settings else None,
        "violations": sum(term.cost > 0.0 for term in seen),
        "worst_margin": min(margins, default=None),
        "status": status if seen else "not_scored",
        "not_applicable_steps": blind,
    }


def _gate(log: RunLog) -> dict[str, Any]:
    worst = candidate_decisions(log)
    counts = Counter(decision.decision for decision in worst)
    changed = sum(0 < _severity(d) < DECISIONS.index("SHADOW") for d in worst)
    reasons = Counter(d.reason for d in log.decisions if d.decision != "PASS")
    figures: dict[str, Any] = {name.lower(): counts[name] for name in DECISIONS}
    figures["intervention_rate"] = round(changed / len(worst), 4) if worst else None
    figures["by_reason"] = dict(reasons.most_common())
    return figures


def _latency(log: RunLog) -> dict[str, dict[str, float | int | None]]:
    """Over the first candidate of each chunk: the later ones wait for their turn, not for us."""
    first: dict[tuple[str, int], Decision] = {}
    for decision in log.decisions:
        first.setdefault((decision.source, decision.chunk_id), decision)
    return {
        stage: percentiles([d.latency_ms[stage] for d in first.values() if stage in d.latency_ms])
        for stage in STAGES
    }


def _engagement(log: RunLog, robot: str) -> dict[str, Any]:
    base_m = path_length(log.path[:, 1:3]) if len(log.path) else None
    hand_m = _hand_path(log, robot)
    moved = (base_m or 0.0) > MOVED_BASE_M or (hand_m or 0.0) > MOVED_HAND_M
    return {
        "base_path_m": None if base_m is None else round(base_m, 3),
        "hand_path_m": None if hand_m is None else round(hand_m, 3),
        "moved": moved if base_m is not None or hand_m is not None else None,
    }


def path_length(points: NDArray[np.float64]) -> float:
    """Length [m] of a path of points (N, D) [m], in strides of STRIDE_M."""
    length = 0.0
    last = points[0]
    for point in points[1:]:
        stride = float(np.linalg.norm(point - last))
        if stride >= STRIDE_M:
            length += stride
            last = point
    return length


def _hand_path(log: RunLog, robot: str) -> float | None:
    """Path of the gripper relative to the base [m]; None, with a note, where it cannot be known."""
    if not log.joints or not log.robot_description:
        return None
    try:
        from safevla_ros.robot.kinematics import Kinematics, KinematicsError
    except ImportError:
        log.notes.append("hand_path_m: Pinocchio is not installed")
        return None
    try:
        gripper = load_profile(robot).roles.gripper
        link = _child_link(log.robot_description, gripper)
        with tempfile.NamedTemporaryFile("w", suffix=".urdf", encoding="utf-8") as file:
            file.write(log.robot_description)
            file.flush()
            kinematics = Kinematics(file.name)
        base = Pose((0.0, 0.0, 0.0))
        # With the gripper as it was at first: that it opens moves its fingers, not the hand.
        still = {name: joint for name, joint in log.joints[0][1].items() if name == gripper}
        points = [
            kinematics.link_pose(link, base, joints | still).position for _, joints in log.joints
        ]
    except (ProfileError, KinematicsError, ValueError) as error:
        log.notes.append(f"hand_path_m: {error}")
        return None
    return path_length(np.array(points))


def _child_link(urdf: str, joint_name: str) -> str:
    """The link that a joint moves. Raises ValueError."""
    try:
        root = ET.fromstring(urdf)
    except ET.ParseError as error:
        raise ValueError(f"robot_description is not a URDF: {error}") from error
    for joint in root.iter("joint"):
        child = joint.find("child")
        if joint.get("name") == joint_name and child is not None:
            return child.get("link", "")
    raise ValueError(f"robot_description has no joint {joint_name!r}")


def _counts(said: dict[str, str], key: str) -> dict[str, int]:
    return {k: v for k, v in keys.nested(said, key).items() if isinstance(v, int)}


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
