"""What touches what: MuJoCo's contacts as robot links and object ids, kept until they are read."""

from __future__ import annotations

import mujoco
import numpy as np

from safevla_ros.robot.state import Contact
from safevla_ros.simulation.model import World


class ContactLog:
    """Collects contacts over physics steps, one per pair, with the largest force."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._is_robot = np.zeros(world.model.ngeom, bool)
        self._is_robot[list(world.links)] = True
        self._wrench = np.zeros(6)
        self._found: dict[tuple[str, str, str], Contact] = {}

    def record(self, data: mujoco.MjData, held: str) -> None:
        """Add the contacts of the last physics step."""
        pairs = data.contact.geom
        touches = self._is_robot[pairs].any(axis=1)
        if held:
            touches |= (self._world.model.geom_bodyid[pairs] == self._world.bodies[held]).any(
                axis=1
            )
        for index in np.flatnonzero(touches).tolist():
            self._add(data, index, pairs[index].tolist(), held)

    def take(self) -> tuple[Contact, ...]:
        """All contacts since the last call."""
        found, self._found = tuple(self._found.values()), {}
        return found

    def _add(self, data: mujoco.MjData, index: int, pair: list[int], held: str) -> None:
        mujoco.mj_contactForce(self._world.model, data, index, self._wrench)
        force = abs(float(self._wrench[0]))
        if force <= 0.0:
            return
        first, second = pair
        links, owners = self._world.links, self._world.owners
        if second in links:
            first, second = second, first
        if first in links:
            key = (links[first], owners[second], "")
        else:
            own, other = owners[first], owners[second]
            key = ("", held, other if own == held else own)
        known = self._found.get(key)
        if known is None or force > known.force_n:
            x, y, z = data.contact.pos[index].tolist()
            self._found[key] = Contact(*key, position=(x, y, z), force_n=force)
