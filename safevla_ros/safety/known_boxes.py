"""Known objects as boxes that no link may touch.

Left out are the instructed object and what the gripper holds, furniture, whose boxes hold much free
space, and what is too far away for one command. What is within a range of the instructed object, as
the plate under a mug, may be touched: of a box that is so in part, cells of CELL_M are left out.
"""

from __future__ import annotations

import numpy as np

from safevla_ros.robot.geometry import Boxes
from safevla_ros.safety.state import WorldState
from safevla_ros.safety.terms.collision import is_instructed

CELL_M = 0.04
"""Longest edge of the cells of which some may be touched."""
_MOST_CELLS = 24
"""Along an edge of a box; those of a longer box are larger."""
_OBJECTS_M = 2.5
"""Known objects farther away are of no concern to one command."""


def boxes_to_avoid(world: WorldState, range_m: float) -> tuple[Boxes, list[str]]:
    """The boxes, without what is within `range_m` of an instructed object, and which object each is
    of. Those of one object follow each other. The world's base is known."""
    assert world.base is not None
    scene = world.scene
    offsets = scene.positions[:, :2] - np.asarray(world.base.position[:2])
    reach = _OBJECTS_M + 0.5 * np.sqrt((scene.sizes**2).sum(axis=1))
    kinds = zip(scene.ids, scene.classes, strict=True)
    is_wanted = np.array([is_instructed(*kind, world.task) for kind in kinds], bool)
    is_near = (offsets**2).sum(axis=1) <= reach**2
    rows = np.flatnonzero(is_near & ~(scene.fixed | scene.held | is_wanted))
    boxes, owners = scene.boxes(rows), [scene.ids[row] for row in rows]
    if not is_wanted.any():
        return boxes, owners
    ranges = scene.boxes(np.flatnonzero(is_wanted))
    ranges = Boxes(ranges.centres, ranges.halves + range_m, ranges.turns)
    parts = [_outside(boxes[row : row + 1], ranges) for row in range(len(owners))]
    owners = [owner for owner, part in zip(owners, parts, strict=True) for _ in part.centres]
    return Boxes.joined([boxes[:0], *parts]), owners


def _outside(box: Boxes, ranges: Boxes) -> Boxes:
    """Boxes that hold what of one box is outside all ranges, and little more."""
    radii = np.sqrt((ranges.halves**2).sum(axis=1)) + np.sqrt((box.halves**2).sum())
    if (((ranges.centres - box.centres) ** 2).sum(axis=1) > radii**2).all():
        return box
    half, turn = box.halves[0], box.turns[0]
    counts = np.ceil(2.0 * half / CELL_M).clip(1, _MOST_CELLS).astype(int)
    lines = [np.linspace(-edge, edge, count + 1) for edge, count in zip(half, counts, strict=True)]
    corners = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1)
    placed = corners @ turn.T + box.centres[0]
    outside = np.ones(counts, bool)
    for centre, reach, axes in zip(ranges.centres, ranges.halves, ranges.turns, strict=True):
        is_within = (np.abs((placed - centre) @ axes) <= reach).all(axis=-1)
        for axis in range(3):  # a cell is, when all its corners are
            is_within = np.delete(is_within, 0, axis) & np.delete(is_within, -1, axis)
        outside &= ~is_within
    if outside.all():
        return box
    along = int(counts.argmax())  # cells in a row there make one box
    width = [(0, 0)] * 3
    width[along] = (1, 1)
    steps = np.diff(np.pad(outside, width).astype(int), axis=along)
    firsts, lasts = (np.argwhere(np.moveaxis(steps, along, -1) == step) for step in (1, -1))
    order = np.insert(np.arange(2), along, 2)
    low, high = firsts[:, order], lasts[:, order] + (np.arange(3) != along)
    low_m, high_m = (
        np.stack([line[at] for line, at in zip(lines, end.T, strict=True)], axis=-1)
        for end in (low, high)
    )
    middles = 0.5 * (low_m + high_m) @ turn.T + box.centres
    return Boxes(middles, 0.5 * (high_m - low_m), np.broadcast_to(turn, (len(middles), 3, 3)))
