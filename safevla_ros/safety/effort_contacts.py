"""Contacts as a robot without a contact sensor feels them: by the efforts of its joints.

A joint that moves freely needs about the same effort wherever it is, where its axis is vertical or
horizontal as those of a lift, a telescoping arm and a wrist's yaw are: `free_effort` of the profile,
its load against gravity. What is beyond `contact_effort` more or less than that is taken for a touch;
friction and acceleration must stay within it. What is touched, where and how hard is not known. A
joint feels nothing that pushes across its axis; of the base, impact_contacts.py tells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from safevla_ros.robot.profile import JointLimits
from safevla_ros.robot.state import Contact, Joint


def feels_contacts(limits: Mapping[str, JointLimits]) -> bool:
    """Whether any joint of a profile says which effort means a touch."""
    return any(joint.contact_effort is not None for joint in limits.values())


def contacts_from_efforts(
    joints: Mapping[str, Joint], limits: Mapping[str, JointLimits]
) -> tuple[Contact, ...]:
    """Contacts by the name of the joint that feels them, each with an unknown thing. Raises
    ValueError where a joint that should feel reports no effort."""
    contacts = []
    for name, limit in limits.items():
        if limit.contact_effort is None:
            continue
        if name not in joints or not math.isfinite(joints[name].effort):
            raise ValueError(f"joint {name} reports no effort")
        if abs(joints[name].effort - limit.free_effort) > limit.contact_effort:
            contacts.append(Contact(name, ""))
    return tuple(contacts)
