"""force_limit: a link presses on something with more than the threshold [N]. Charged per step.

rho = threshold less the largest contact force. Contacts whose force is not known leave it open,
unless another is too strong. The floor carries the robot; it is `ignored`.
"""

from __future__ import annotations

import math

from safevla_ros.safety.conditions import Text
from safevla_ros.safety.state import WorldState
from safevla_ros.safety.terms.base import Margin, SampledTerm, TermParameters


class ForceLimitParameters(TermParameters):
    ignored: tuple[Text, ...] = ("floor",)


class ForceLimit(SampledTerm[ForceLimitParameters]):
    name = "force_limit"
    unit = "N"
    signals = frozenset({"contacts"})
    threshold_range = (1e-3, 1e5)
    Parameters = ForceLimitParameters

    def live(self, world: WorldState, start: WorldState | None = None) -> Margin:
        touching = [
            contact
            for contact in world.contacts or ()
            if contact.link and contact.object_id not in self.parameters.ignored
        ]
        known = [contact for contact in touching if not math.isnan(contact.force_n)]
        strongest = max(known, key=lambda contact: contact.force_n, default=None)
        margin = Margin(self.threshold)
        if strongest is not None:
            thing = strongest.object_id or "something unknown"
            margin = Margin(
                self.threshold - strongest.force_n,
                f"{strongest.link} presses on {thing} with {strongest.force_n:.0f} N",
            )
        if len(known) < len(touching) and not margin.value < 0.0:
            return Margin(math.nan, "contacts: the force of one is not known")
        return margin
