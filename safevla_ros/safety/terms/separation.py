"""separation: the robot approaches a person faster than it could stop in time. Charged per step.

Speed and separation monitoring (ISO/TS 15066, 5.5.4), solved for the speed: with d the distance from
the robot's nearest part to the person and v the speed at which that part approaches,

    T_r = age of the sighting + gate_period_s + driver delay,   v_h the person's speed
    d_eff = d - C - Z - v_h T_r,      b = T_r + v_h / a
    v_max = a (-b + sqrt(b^2 + 2 d_eff / a)),  0 if d_eff <= 0
    rho = v_max - v - threshold  [m/s]

a, C, Z and the driver delay are the profile's (`limits.separation`). v_h is the person's speed
where they are tracked (their velocity is not 0), else `walking_m_s`. A robot that does not approach
(v below `still_m_s`) costs nothing, however near somebody comes.
"""

from __future__ import annotations

import math

import numpy as np

from safevla_ros.robot.geometry import nearest_on_segments
from safevla_ros.robot.state import NANOSECONDS, SceneObject
from safevla_ros.safety.conditions import Text
from safevla_ros.safety.state import PERSON, Array, WorldState
from safevla_ros.safety.terms.base import Margin, NonNegative, SampledTerm, TermParameters

FAR_M_S = 10.0
"""Largest margin that is told apart [m/s]."""
_TOUCHING_M = 1e-9
"""A gap smaller than this has no direction."""


class SeparationParameters(TermParameters):
    people: tuple[Text, ...] = (PERSON,)
    walking_m_s: NonNegative = 1.6
    still_m_s: NonNegative = 0.02
    gate_period_s: NonNegative = 0.02


class Separation(SampledTerm[SeparationParameters]):
    name = "separation"
    unit = "m/s"
    signals = frozenset({"objects", "links", "limits"})
    threshold_range = (0.0, FAR_M_S)
    Parameters = SeparationParameters

    def live(self, world: WorldState, start: WorldState | None = None) -> Margin:
        margin = Margin(FAR_M_S)
        for key, entry in (world.objects or {}).items():
            if entry.class_name not in self.parameters.people:
                continue
            if world.link_velocities is None or not world.links:
                why = world.missing.get("link_velocities", "link_velocities: not known")
                return Margin(math.nan, why)
            at, speed = self._nearest(world, entry)
            if speed < self.parameters.still_m_s:
                continue
            left = self.allowed_m_s(world, entry, at) - speed - self.threshold
            if left < margin.value:
                cause = f"approaches {key} at {speed:.2f} m/s from {at:.2f} m"
                margin = Margin(left, cause)
        return margin

    def allowed_m_s(self, world: WorldState, person: SceneObject, distance_m: float) -> float:
        """v_max at that distance from a person."""
        assert world.limits is not None
        robot = world.limits.separation
        a = robot.deceleration_m_s2 or world.limits.base.linear_m_s2
        age_s = max(
            0.0, (world.stamp_ns - world.sources.get("objects", world.stamp_ns)) / NANOSECONDS
        )
        reaction_s = age_s + self.parameters.gate_period_s + robot.driver_delay_s
        tracked = math.hypot(*person.velocity[:2])
        walking = tracked if tracked > 0.0 else self.parameters.walking_m_s
        left_m = distance_m - robot.intrusion_m - robot.uncertainty_m - walking * reaction_s
        if left_m <= 0.0:
            return 0.0
        b = reaction_s + walking / a
        return a * (-b + math.sqrt(b * b + 2.0 * left_m / a))

    @staticmethod
    def _nearest(world: WorldState, person: SceneObject) -> tuple[float, float]:
        """Distance [m] of the robot's nearest part to a person's box, and the speed [m/s] at which
        it approaches."""
        assert world.link_velocities is not None
        hulls, box = world.hulls, world.scene.boxes([world.scene.rows[person.id]])
        turn, halves = box.turns[0], box.halves.T
        starts, ends = (((at - box.centres) @ turn).T for at in (hulls.starts, hulls.ends))
        shares = nearest_on_segments(starts, ends - starts, halves)
        points = starts + shares * (ends - starts)
        gaps = points.clip(-halves, halves) - points
        lengths = np.sqrt((gaps**2).sum(axis=0))
        link = int((lengths - hulls.radii).argmin())
        share, length = shares[link], lengths[link]
        velocities = world.link_velocities[link]
        velocity = velocities[0] + share * (velocities[1] - velocities[0])
        point = hulls.starts[link] + share * (hulls.ends[link] - hulls.starts[link])
        is_apart = length > _TOUCHING_M
        towards = turn @ gaps[:, link] / length if is_apart else _towards_middle(point, person)
        return float(max(length - hulls.radii[link], 0.0)), float(velocity @ towards)


def _towards_middle(point: Array, entry: SceneObject) -> Array:
    gap = np.asarray(entry.pose.position) - point
    return np.asarray(gap / max(float(np.linalg.norm(gap)), 1e-9))
