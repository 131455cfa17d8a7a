"""Ways to ask for each class, to teach words and pictures together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from safevla_ros.policy.features import Features
from safevla_ros.policy.vla.text import Tokenizer
from safevla_ros.simulation.goods import GOODS
from safevla_ros.simulation.instructions import SYNONYMS, TEMPLATES


class Names:
    """Every training wording that asks for something, as tokens. Draws from `rng`."""

    def __init__(self, features: Features, rng: np.random.Generator) -> None:
        tokenizer = Tokenizer(features.vocabulary, features.instruction_length)
        templates = [
            text
            for task in TEMPLATES.values()
            for text in task["training"]
            if "{place}" not in text
        ]
        self._rng = rng
        self._tokens = [
            np.stack(
                [
                    tokenizer.encode(template.format(target=name))
                    for name in SYNONYMS[class_name]["training"]
                    for template in templates
                ]
            )
            for class_name in GOODS
        ]

    def draw(self) -> NDArray[np.int64]:
        """(classes, length) tokens of one wording for each of GOODS, in that order."""
        return np.stack([ways[self._rng.integers(len(ways))] for ways in self._tokens])
