"""Whether the robot's required signals are there and fresh enough to move by, and whether the terms
that it must not be without can be judged by them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from safevla_ros.robot.profile import Profile
from safevla_ros.robot.state import NANOSECONDS
from safevla_ros.safety.decisions import Reason
from safevla_ros.safety.sources import FUTURE_S
from safevla_ros.safety.specification import Specification
from safevla_ros.safety.state import WorldState
from safevla_ros.safety.terms.base import CostTerm, absent

_FIELDS: Mapping[str, tuple[str, ...]] = {
    "joint_states": ("joints",),
    "odometry": ("velocity", "base"),
    "localisation": ("base",),
    "scan": ("obstacles",),
    "grid": ("obstacles",),
    "points": ("cloud",),
    "objects": ("objects",),
    "contacts": ("contacts",),
}
"""What each signal gives to the world state."""


def stale_signals(profile: Profile, world: WorldState | None, now_ns: int) -> dict[str, str]:
    """Required signals that the robot must not move by now, each with what is wrong."""
    return {
        name: detail
        for name, signal in profile.signals.present().items()
        if signal.required and (detail := _fault(profile, name, world, now_ns)[1])
    }


def unfit_signal(
    profile: Profile, world: WorldState | None, now_ns: int
) -> tuple[Reason, str] | None:
    """The first required signal that the robot must not move by now."""
    for name, signal in profile.signals.present().items():
        if signal.required:
            reason, detail = _fault(profile, name, world, now_ns)
            if detail:
                return reason, detail
    return None


def blind_term(
    specification: Specification, terms: Mapping[str, CostTerm], world: WorldState
) -> tuple[str, str] | None:
    """The first term with `if_missing: refuse` that cannot be judged now, and why."""
    for name, term in terms.items():
        if specification.terms[name].if_missing == "refuse":
            why = absent(world, term.signals)
            if not why:
                margin = term.live(world)
                why = margin.cause if math.isnan(margin.value) else ""
            if why:
                return name, why
    return None


def _fault(
    profile: Profile, name: str, world: WorldState | None, now_ns: int
) -> tuple[Reason, str]:
    signal = getattr(profile.signals, name)
    if world is None or name not in world.sources:
        return Reason.MISSING_SIGNAL, f"{name}: nothing received on {signal.topic}"
    age_s = (now_ns - world.sources[name]) / NANOSECONDS
    if age_s > signal.max_age_s:
        return Reason.STALE_SIGNAL, (
            f"{name}: {age_s:.2f} s old, at most {signal.max_age_s} s is allowed"
        )
    if age_s < -FUTURE_S:
        return Reason.FUTURE_SIGNAL, f"{name}: its stamp is {-age_s:.2f} s ahead"
    for field in _FIELDS[name]:
        if getattr(world, field) is None:
            return Reason.MISSING_SIGNAL, world.missing.get(field, f"{field}: not known")
    return Reason.MISSING_SIGNAL, ""
