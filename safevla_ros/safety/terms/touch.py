"""What the robot touches, for terms that ask where or what, not when it began."""

from __future__ import annotations

from collections.abc import Collection

from safevla_ros.safety.state import WorldState
from safevla_ros.safety.terms.collision import is_instructed


def touched(world: WorldState, ignored: Collection[str]) -> dict[str, str]:
    """What robot links touch, with the cause in words: all but the instructed object and what is
    `ignored` by class or id."""
    things: dict[str, str] = {}
    for contact in world.contacts or ():
        entry = (world.objects or {}).get(contact.object_id)
        class_name = entry.class_name if entry is not None else ""
        if not contact.link or {contact.object_id, class_name} & set(ignored):
            continue
        if is_instructed(contact.object_id, class_name, world.task):
            continue
        thing = contact.object_id or "something unknown"
        things.setdefault(contact.object_id, f"{contact.link} touches {thing}")
    return things
