"""tilt_while_carrying: a held object is tilted farther than the threshold [deg]. Charged per step.

Tilt is the angle between the vertical and what was vertical in the object when it was taken, so it
means the same for a cup and for a book that lay flat. Turning about the vertical is no tilt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from safevla_ros.robot.geometry import inverse, rotate
from safevla_ros.robot.state import Pose, Vector3
from safevla_ros.safety.conditions import Text
from safevla_ros.safety.state import WorldState
from safevla_ros.safety.terms.base import Margin, SampledTerm, StepCost, TermParameters

_UP = (0.0, 0.0, 1.0)


class TiltParameters(TermParameters):
    """`classes` that must stay upright; none: all."""

    classes: tuple[Text, ...] = ()


class TiltWhileCarrying(SampledTerm[TiltParameters]):
    name = "tilt_while_carrying"
    unit = "deg"
    signals = frozenset({"objects"})
    threshold_range = (0.1, 180.0)
    Parameters = TiltParameters

    def reset(self) -> None:
        self._up: dict[str, Vector3] = {}
        self._observed_ns = -1

    def observe(self, world: WorldState) -> None:
        if world.stamp_ns <= self._observed_ns:
            return
        self._observed_ns = world.stamp_ns
        held = {key: entry for key, entry in (world.objects or {}).items() if entry.held}
        self._up = {key: self._up.get(key) or _up_of(entry.pose) for key, entry in held.items()}

    def __call__(
        self, start: WorldState, samples: Sequence[WorldState], end: WorldState
    ) -> StepCost:
        for world in samples:
            self.observe(world)
        return super().__call__(start, samples, end)

    def live(self, world: WorldState, start: WorldState | None = None) -> Margin:
        margin = Margin(self.threshold)
        for key, entry in (world.objects or {}).items():
            if not entry.held or (
                self.parameters.classes and entry.class_name not in self.parameters.classes
            ):
                continue
            up = rotate(entry.pose.orientation, self._up.get(key) or _up_of(entry.pose))
            tilt = math.degrees(math.acos(min(max(up[2], -1.0), 1.0)))
            if self.threshold - tilt < margin.value:
                margin = Margin(self.threshold - tilt, f"{key} is tilted by {tilt:.0f} deg")
        return margin


def _up_of(pose: Pose) -> Vector3:
    """The vertical, seen from the object."""
    return rotate(inverse(pose).orientation, _UP)
