"""Contacts as a base without a bumper feels them: by the speed that it loses.

A base that brakes loses no more speed than its rates allow. What it loses beyond that within WITHIN_S,
by more than `contact_m_s` or `contact_rad_s` of the profile, something took from it. What that is, and
where it was hit, is not known. Odometry alone tells, so a base whose wheels slip feels nothing, nor does
one that leans on something from a stand, or pushes along what gives way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from safevla_ros.robot.profile import BaseLimits
from safevla_ros.robot.state import NANOSECONDS, Contact, Odometry

WITHIN_S = 0.1


def feels_impacts(limits: BaseLimits) -> bool:
    """Whether a profile says which loss of speed means an impact."""
    return limits.contact_m_s is not None or limits.contact_rad_s is not None


def contacts_from_impacts(
    odometry: Sequence[tuple[int, Odometry]], limits: BaseLimits, link: str
) -> tuple[Contact, ...]:
    """A contact of `link`, the base, with an unknown thing, if it was hit within this odometry: the
    messages of WITHIN_S, by stamp [ns], oldest first."""
    if len(odometry) < 2:
        return ()
    (then_ns, then), (now_ns, now) = odometry[0], odometry[-1]
    lasted_s = (now_ns - then_ns) / NANOSECONDS
    before, after = then.velocity, now.velocity
    speed = math.hypot(before.x, before.y)
    along = (before.x * after.x + before.y * after.y) / speed if speed > 0.0 else 0.0
    turn = abs(before.yaw) - math.copysign(1.0, before.yaw) * after.yaw
    losses = (
        (speed - along, limits.linear_m_s2, limits.contact_m_s),
        (turn, limits.yaw_rad_s2, limits.contact_rad_s),
    )
    was_hit = any(
        contact is not None and lost - rate * lasted_s > contact for lost, rate, contact in losses
    )
    return (Contact(link, ""),) if was_hit else ()
