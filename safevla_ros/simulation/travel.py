"""How the scripted expert gets to one of many places, and what it learns where it is stopped."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from safevla_ros.robot.state import Vector3
from safevla_ros.simulation.grid import Routes
from safevla_ros.simulation.navigation import Navigator, Place
from safevla_ros.simulation.reach import BASE_RADIUS
from safevla_ros.simulation.skills import Skills, apart

ATTEMPTS = 4
"""Times that everything learnt is forgotten and tried again when no way is left."""
SAME_PLACE_M = 0.08
SAME_SPOT_M = 0.15
"""A place this near to one that failed is not tried."""
MOVED_M = 0.03
"""Things that moved farther than this are looked at again."""


class Travel:
    """Ways to changing goals. Keeps the ways that it found for as long as the scene is the same."""

    given_up: bool
    failed: list[Place]
    """Places that were reached, but not good for their purpose."""

    def __init__(self, skills: Skills, navigator: Navigator) -> None:
        self._skills, self._navigator = skills, navigator
        self._ways: Routes | None = None
        self._made_for: tuple[object, ...] = ()
        self._made_from = np.empty((0, 3))
        self._radius = BASE_RADIUS
        self._stopped_at: Place | None = None
        self._escapes: list[str] = []
        self._relents = 0
        self.failed = []
        self.given_up = False

    def is_new(self, place: Place) -> bool:
        """Whether no place near to this one failed."""
        return all(apart(place, other) > SAME_SPOT_M for other in self.failed)

    def towards(
        self, what: str, goals: Callable[[], list[Place]], radius: float, *about: Vector3
    ) -> str | None:
        """The motion to the cheapest of the goals; None: there, or no way (then `given_up`)."""
        self._radius = radius
        while not self.given_up:
            self._refresh(what, goals, radius, *about)
            at = self._skills.at
            path = self._navigator.path(self._ways, at) if self._ways is not None else []
            if path:
                return self._skills.drive(path, radius)
            self._relent()
        return None

    def has_way(self, what: str) -> bool:
        """Whether ways to this were found and are still good."""
        return self._ways is not None and bool(self._made_for) and self._made_for[0] == what

    def _refresh(
        self, what: str, goals: Callable[[], list[Place]], radius: float, *about: Vector3
    ) -> None:
        lying = [
            thing.pose.position
            for thing in self._skills.things.values()
            if not thing.held and thing.class_name != "person"
        ]
        scene = np.array([*lying, *about]).reshape(-1, 3)
        made_for = (what, radius, self._navigator.version, len(self.failed), len(scene))
        if (
            made_for == self._made_for
            and np.abs(scene - self._made_from).max(initial=0.0) < MOVED_M
        ):
            return
        self._made_for, self._made_from = made_for, scene
        places = goals()
        self._ways = (
            self._navigator.ways([(place.x, place.y) for place in places], radius)
            if places
            else None
        )

    def _relent(self) -> None:
        """No way is left: try again what failed, a few times."""
        self._relents += 1
        self.given_up = self._relents > ATTEMPTS
        self.failed.clear()
        self._navigator.forget_marks()
        self._made_for = ()

    # Being stopped

    @property
    def escaping(self) -> bool:
        """Whether it is getting away from where it is stuck."""
        return bool(self._escapes)

    def escape(self) -> str | None:
        """The next try to get away; None: no need."""
        return self._escapes[0] if self._escapes else None

    def escaped(self, stalled: bool) -> None:
        """The last try had an effect, or not."""
        self._escapes = self._escapes[1:] if stalled else []

    def relax(self) -> None:
        """Something else was done: plan from where it is now."""
        self._escapes = []

    def stopped(self, action: str) -> None:
        """Two actions of this kind in a row were without effect."""
        at, navigator = self._skills.at, self._navigator
        if not action.startswith(("move", "rotate")):
            self._escapes = ["lift_up_small", "move_back", "rotate_left_small", "move_ahead"]
            return
        again = self._stopped_at is not None and apart(at, self._stopped_at) < SAME_PLACE_M
        self._stopped_at = at
        ahead = action == "move_ahead"
        if ahead:
            known = navigator.knows_what_is_ahead(at, self._radius)
            if again or not (known and navigator.take_care()):
                navigator.mark_ahead(at)
        else:
            navigator.widen_mark(at)
        if again or not ahead:
            other = "rotate_right" if "left" in action else "rotate_left"
            self._escapes = ["move_back", other, "move_ahead"]
