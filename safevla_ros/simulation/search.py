"""How somebody searches who does not know where a thing is: room after room, all around in each.

An expert that goes straight to what it cannot have seen shows what nobody can learn. One that
searches decides from what a camera has shown so far.
"""

from __future__ import annotations

import math

import numpy as np

from safevla_ros.simulation.home import Home
from safevla_ros.simulation.navigation import Place
from safevla_ros.simulation.rooms import Room

BEARINGS = 24
"""Bearings in which a room is looked at."""
HALF_VIEW = math.radians(25.0)
"""So far to both sides of its middle the camera sees well."""
ENOUGH = 0.9
"""Share of the bearings after which a room was looked at."""


class Search:
    """What was looked at in an episode, whoever moved the robot there."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._seen = {room: np.zeros(BEARINGS, bool) for room in home.rooms}

    def see(self, at: Place) -> None:
        """Take note of where the robot looks from here."""
        room = self._home.room_at(at.x, at.y)
        if room is None:
            return
        bearings = np.arange(BEARINGS) * (2.0 * math.pi / BEARINGS)
        off = np.abs((bearings - at.yaw + math.pi) % (2.0 * math.pi) - math.pi)
        self._seen[room] |= off <= HALF_VIEW

    def looks_around(self, at: Place) -> bool:
        """Whether there is more to see in this room by turning on the spot."""
        room = self._home.room_at(at.x, at.y)
        return room is not None and not self._is_known(room)

    def next_room(self, at: Place) -> Room | None:
        """The nearest room that was not looked at; None: all were."""
        left = [room for room in self._home.rooms if not self._is_known(room)]

        def away(room: Room) -> float:
            return math.hypot((room.x0 + room.x1) / 2.0 - at.x, (room.y0 + room.y1) / 2.0 - at.y)

        return min(left, key=away, default=None)

    def skip(self, room: Room) -> None:
        """There is no way to this room."""
        self._seen[room][:] = True

    def _is_known(self, room: Room) -> bool:
        return bool(self._seen[room].mean() >= ENOUGH)
