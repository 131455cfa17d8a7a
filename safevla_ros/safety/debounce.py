"""Tells a single bad reading from what is there.

A scan with one odd point, a list of objects in which somebody stands for one message, a contact
that no other message confirms: where a specification allows it, such a thing alone does not stop
the robot. What is predicted counts when two readings in a row say so (`Readings`), what is measured
when it lasts (`Lasting`). How long is waited is the specification's; the gate waits for a second
reading only where the robot can still stop afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from safevla_ros.robot.state import NANOSECONDS
from safevla_ros.safety.state import WorldState

_SURROUNDINGS: Mapping[str, tuple[str, ...]] = {
    "obstacles": ("scan", "grid"),
    "cloud": ("points",),
    "objects": ("objects",),
}
"""Fields of the world state that say what stands around the robot, by the signals they are of."""


@dataclass(slots=True)
class _Reading:
    stamps: tuple[int | None, ...]
    value: Any
    before: Any
    has_before: bool


class Readings:
    """What stands around the robot as the reading before the present one said it, signal by
    signal."""

    def __init__(self) -> None:
        self._fields: dict[str, _Reading] = {}

    def forget(self) -> None:
        """Nothing was read yet."""
        self._fields.clear()

    def take(self, world: WorldState) -> None:
        """Take the next world state into account."""
        for name, signals in _SURROUNDINGS.items():
            stamps = tuple(world.sources.get(signal) for signal in signals)
            value, last = getattr(world, name), self._fields.get(name)
            if last is None:
                self._fields[name] = _Reading(stamps, value, None, False)
            elif stamps == last.stamps:
                last.value = value
            else:
                self._fields[name] = _Reading(stamps, value, last.value, True)

    def before(self, world: WorldState) -> WorldState | None:
        """The world with its surroundings as the readings before had them. None: there were none."""
        changes = {
            name: reading.before for name, reading in self._fields.items() if reading.has_before
        }
        return replace(world, **changes) if changes else None


class Lasting:
    """Since when things have been so, by name. What is absent for as long as is waited for is new
    when it comes back."""

    def __init__(self) -> None:
        self._since_ns: dict[str, int] = {}
        self._seen_ns: dict[str, int] = {}

    def forget(self) -> None:
        """Nothing was so."""
        self._since_ns.clear()
        self._seen_ns.clear()

    def seen(self, name: str, now_ns: int, wait_s: float) -> float:
        """It is so now: for how long it has been [s]."""
        if now_ns - self._seen_ns.get(name, now_ns) > wait_s * NANOSECONDS:
            self._since_ns.pop(name, None)
        self._seen_ns[name] = now_ns
        return (now_ns - self._since_ns.setdefault(name, now_ns)) / NANOSECONDS
