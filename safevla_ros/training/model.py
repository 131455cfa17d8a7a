"""The policy that a run trains, from its settings alone: every process makes the same one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safevla_ros.policy.vla.configuration import VlaConfiguration
from safevla_ros.policy.vla.text import vocabulary_of
from safevla_ros.simulation.instructions import SYNONYMS, TEMPLATES
from safevla_ros.training.settings import ImitationSettings

if TYPE_CHECKING:
    from safevla_ros.policy.vla.modeling import CompactVla


def make_configuration(settings: ImitationSettings) -> VlaConfiguration:
    """A configuration with the words of all instructions that are trained on."""
    templates = [text for task in TEMPLATES.values() for text in task["training"]]
    names = [name for synonyms in SYNONYMS.values() for name in synonyms["training"]]
    return VlaConfiguration(
        image_size=settings.episodes.image_size,
        vocabulary=vocabulary_of([text.format(target="", place="") for text in templates] + names),
    )


def make_model(settings: ImitationSettings) -> CompactVla:
    """A new policy, with weights from torch's generator."""
    from safevla_ros.policy.vla.modeling import CompactVla

    return CompactVla(make_configuration(settings))
